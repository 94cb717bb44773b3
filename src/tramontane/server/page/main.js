// The page begins here: every element is defined by its own module, and one room holds the state.

import "/elements/reading-room.js";

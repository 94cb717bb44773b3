"""Words that questions are made of and answers are not."""

WORDS = """
a about am an and any are as at be been being but by can could did do does doing for from had has
have having he her here hers him his how i if in into is it its just let like many may me might
more most much must my of on one or our ours please shall she should so some such tell than that
the their theirs them then there these they this those to told too us very was we were what when
where whether which while who whom whose why will with would you your yours
s t d ll m re ve don doesn didn isn wasn aren weren won
"""
STOP_WORDS = frozenset(WORDS.split())

#pragma once
// Rows of floats into a block of a panel: quants q = round(x · 127 / max|x|) per 32 columns with
// scale max|x| / 127, and floats as they are.
#include "panel.h"
#include "variants.h"

// `block` is the panel of n ≤ 8 rows; rows[t] points at the numbers of columns
// [first, first + count), count a multiple of 32 where the panel holds quants.
#define TRAMONTANE_DECLARE(variant)                                                         \
  namespace variant {                                                                       \
  void pack_rows(const float* const* rows, size_t first, size_t count, const Panel& block); \
  }
TRAMONTANE_EACH_VARIANT(TRAMONTANE_DECLARE)
#undef TRAMONTANE_DECLARE

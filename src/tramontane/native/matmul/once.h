#pragma once
// One product on its own, outside a forward pass.
#include "kernels.h"

// y[t, n] = Σ_k w[n, k] · x[t, k] for T rows; y has rows of w.num_rows numbers.
void multiply_once(const Kernels& kernels, const Matrix& w, const float* x, size_t T, float* y);

#pragma once
#include <cstddef>

// y[t,v] = x[t,v] - log(sum_w exp(x[t,w])), the maximum of the row taken out first.
// The sum is carried in double and in the order of v, so that a row's bits depend on nothing else.
void log_softmax(const float* x, float* y, size_t T, size_t V);

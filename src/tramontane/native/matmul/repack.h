#pragma once
// A file's matrix in the layout of matrix.h.
#include <string>

#include "matmul/matrix.h"
#include "thread_pool.h"

// `bytes` are rows × columns numbers of a GGUF or safetensors type, row after row. Throws
// std::invalid_argument for a type that isn't known or bytes that don't fit it.
Matrix repack(const std::string& type, size_t rows, size_t columns, const uint8_t* bytes,
              size_t num_bytes, ThreadPool& pool);

// Rounds float32 numbers to blocks of int8 (Q8_0's arithmetic with a half as the scale). Throws
// std::invalid_argument for numbers that no such block holds.
Matrix quantise_to_bytes(size_t rows, size_t columns, const float* numbers, ThreadPool& pool);

// Row n's numbers as floats.
void unpack_row(const Matrix& matrix, size_t n, float* y);

#pragma once
// A file's matrix in the layout of matrix.h.
#include <string>

#include "matmul/matrix.h"
#include "thread_pool.h"

// The matrix that a GGUF or safetensors type is repacked to, without bytes. Throws
// std::invalid_argument for a type that isn't known or rows that are no whole blocks.
Matrix layout_of(const std::string& type, size_t rows, size_t columns);

// Writes layout_of(...).num_bytes() to `tiles`. `bytes` are rows × columns numbers of the type, row
// after row. Throws std::invalid_argument for bytes that don't fit it or scales beyond float16.
void repack_into(uint8_t* tiles, const std::string& type, size_t rows, size_t columns,
                 const uint8_t* bytes, size_t num_bytes, ThreadPool& pool);

// The same, into memory of its own.
Matrix repack(const std::string& type, size_t rows, size_t columns, const uint8_t* bytes,
              size_t num_bytes, ThreadPool& pool);

// Rounds float32 numbers to blocks of int8 (Q8_0's arithmetic with a half as the scale). Throws
// std::invalid_argument for numbers that no such block holds.
Matrix quantise_to_bytes(size_t rows, size_t columns, const float* numbers, ThreadPool& pool);

// Row n's numbers as floats.
void unpack_row(const Matrix& matrix, size_t n, float* y);

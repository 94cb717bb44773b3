// Products of packed rows with matrices, cut into items that threads share.
#include "pass.h"

// Asks the memory for what this thread will most likely read first in the next step, while the
// others end this one.
void Transformer::Pass::ask_for(const Ahead& next, int thread) const {
  if (!next.first || T > kFewRows) return;
  const size_t tile = thread * stretch_of(next.num_bytes, next.bytes_each) * next.tiles_each;
  for (const Matrix* w : {next.first, next.second}) {
    if (!w || tile >= w->num_tiles()) continue;
    const size_t num_bytes = std::min(kAskedForBytes, (w->num_tiles() - tile) * w->tile_bytes());
    for (size_t at = 0; at < num_bytes; at += 64) __builtin_prefetch(w->tile(tile) + at, 0, 2);
  }
}

// All products of one step, cut into items.
void Transformer::Pass::multiply(const std::vector<Product>& products, const Ahead& next) {
  std::vector<Item> items;
  size_t remaining = 0;
  for (const Product& product : products) remaining += product.w->num_bytes();
  for (size_t p = 0; p < products.size(); ++p) {
    const Matrix& w = *products[p].w;
    const size_t rows = products[p].x.num_rows;
    // A stretch of rows stays in the second cache while all tiles pass over it.
    for (size_t row = 0; rows > kFewRows && row < rows; row += kRowsAtOnce)
      for (size_t tile = 0; tile < w.num_tiles(); ++tile)
        items.push_back({p, tile, tile + 1, row, std::min(kRowsAtOnce, rows - row)});
    for (size_t tile = 0; rows <= kFewRows && tile < w.num_tiles();) {
      const size_t count = std::min(w.num_tiles() - tile, stretch_of(remaining, w.tile_bytes()));
      items.push_back({p, tile, tile + count, 0, rows});
      remaining -= count * w.tile_bytes();
      tile += count;
    }
  }
  pool.run(items.size(), [&](size_t i, int thread) {
    const Item& item = items[i];
    const Product& product = products[item.product];
    float* sums = sums_of(thread);
    const Panel x = product.x.from(item.first_row, item.num_rows);
    for (size_t tile = item.first_tile; tile < item.end_tile; ++tile) {
      kernels.matmul_tile(*product.w, tile, x, sums, unpack_scratch_of(thread));
      write(product, tile, item, sums);
    }
    if (i + pool.size() >= items.size()) ask_for(next, thread);
  });
}

void Transformer::Pass::write(const Product& product, size_t tile, const Item& item,
                              const float* sums) {
  const size_t column = tile * kRowsPerTile;
  const size_t width = std::min(kRowsPerTile, product.w->num_rows - column);
  for (size_t t = 0; t < item.num_rows; ++t) {
    float* y = product.y + (item.first_row + t) * product.stride + column;
    const float* sum = sums + t * kRowsPerTile;
    if (width == kRowsPerTile && product.added_times != 0.0f)
      for (size_t i = 0; i < kRowsPerTile; ++i) y[i] += product.added_times * sum[i];
    else if (width == kRowsPerTile && !product.bias)
      memcpy(y, sum, kRowsPerTile * sizeof(float));
    else if (product.added_times != 0.0f)
      for (size_t i = 0; i < width; ++i) y[i] += product.added_times * sum[i];
    else if (product.bias)
      for (size_t i = 0; i < width; ++i) y[i] = sum[i] + product.bias[column + i];
    else
      for (size_t i = 0; i < width; ++i) y[i] = sum[i];
  }
}

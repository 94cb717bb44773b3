#pragma once
// One forward pass: its sizes, its buffers, and the steps of a layer.
//
// Letters: T tokens of the batch, D model width, F feed-forward width, E notes experts,
// S slots (a token with one of the networks that it runs through).
#include <algorithm>
#include <cmath>
#include <cstring>

#include "matmul/repack.h"
#include "route/route.h"
#include "transformer.h"

// Rows of activations that stay in the second cache while a stretch of a matrix passes over them.
inline constexpr size_t kRowsAtOnce = 128;
// Up to this many rows, reading the weights is what takes time.
inline constexpr size_t kFewRows = 32;
// The shortest stretch of weights in an item then, and what is asked for before its step begins.
inline constexpr size_t kLeastItemBytes = 16 << 10, kAskedForBytes = 8 << 10;

inline size_t ceil_divide(size_t a, size_t b) { return (a + b - 1) / b; }

inline Panel make_panel(PanelBuffers& buffers, size_t rows, size_t width, bool quants,
                        bool floats) {
  Panel panel;
  panel.num_rows = rows;
  panel.width = width;
  if (quants) {
    const size_t num_scales = rows * (width / kColumnsPerScale);
    panel.quants = buffers.quants.of<int8_t>(rows * width);
    panel.scales = buffers.scales.of<float>(num_scales);
    panel.minus_8_sums = buffers.minus_8.of<int32_t>(num_scales);
    panel.minus_128_sums = buffers.minus_128.of<int32_t>(num_scales);
    panel.scaled_sums = buffers.scaled.of<float>(num_scales);
  }
  if (floats) panel.floats = buffers.floats.of<float>(rows * width);
  return panel;
}

struct Needs {
  bool quants = false, floats = false;
  void add(const Matrix& matrix) { (is_in_blocks(matrix.format) ? quants : floats) = true; }
};

// What the next step reads first: one or two matrices side by side, in units of so many tiles.
struct Ahead {
  const Matrix* first = nullptr;
  const Matrix* second = nullptr;
  size_t num_bytes = 0, bytes_each = 1, tiles_each = 1;
};

struct Transformer::Pass {
  Transformer& model;
  const Batch& batch;
  const Voices& voices;
  const Decisions& decisions;
  const Sizes& sizes = model.sizes_;
  const Kernels& kernels = model.kernels_;
  Scratch& scratch = model.scratch_;
  ThreadPool& pool = model.pool_;
  const size_t T = batch.token_ids.size(), D = sizes.model_width;
  float* x_TD = scratch.x.of<float>(T * D);
  float* h_TD = scratch.h.of<float>(T * D);
  float *cos_Td = nullptr, *sin_Td = nullptr;
  std::vector<int64_t> positions_T;
  std::vector<uint32_t> spans_T;
  std::vector<const NotesExpert*> experts;
  // Sums over notes layers for voices.
  std::vector<float> base_norms_T;

  // A network that some tokens run through; their results fill its slots in this order.
  struct Group {
    const Network* network;
    std::vector<uint32_t> tokens;
    size_t first_slot = 0;
    Panel input, act;
  };
  // How much of a slot's result a token takes; the base's first, then open experts' by hash.
  struct Part {
    uint32_t group, place;
    float weight;
    int expert;  // -1: the base
  };
  std::vector<Group> groups;
  std::vector<std::vector<Part>> parts_T;

  Pass(Transformer& m, const Batch& b, const Voices& v, const Decisions& d)
      : model(m), batch(b), voices(v), decisions(d) {
    positions_T.resize(T);
    spans_T.resize(T);
    for (size_t s = 0; s < batch.spans.size(); ++s)
      for (size_t i = 0; i < batch.spans[s].count; ++i) {
        positions_T[batch.spans[s].begin + i] = batch.spans[s].start + static_cast<int64_t>(i);
        spans_T[batch.spans[s].begin + i] = static_cast<uint32_t>(s);
      }
    for (const auto& [hash, expert] : model.experts_) experts.push_back(expert.get());
  }

  // Calls work(first, end) for stretches of items. Small work isn't shared: waking a thread would
  // cost more.
  template <class Work>
  void over_stretches(size_t count, size_t per_item, const Work& work) {
    if (count <= per_item) {
      work(0, count);
      return;
    }
    pool.run(ceil_divide(count, per_item), [&](size_t item, int) {
      work(item * per_item, std::min(count, (item + 1) * per_item));
    });
  }

  template <class Work>
  void over_tokens(size_t count, size_t per_item, const Work& work) {
    over_stretches(count, per_item, [&](size_t first, size_t end) {
      for (size_t t = first; t < end; ++t) work(t);
    });
  }

  void embed();
  void norm(const std::vector<float>& scale, const Panel* panel);
  void pack(const float* x, const Panel& panel);
  struct Product {
    const Matrix* w;
    Panel x;
    float* y;  // row 0, column 0 of this product
    size_t stride;
    const float* bias;  // may be null
    // 0: y is written; otherwise this times the product is added to it.
    float added_times;
  };

  // Tiles [first, end) of a product, over some rows of its input.
  struct Item {
    size_t product, first_tile, end_tile, first_row, num_rows;
  };

  // How many tiles of what remains an item takes when few rows pass over the weights: long
  // stretches first, since reading ahead is lost at the end of each, short ones last, so that all
  // threads end together.
  size_t stretch_of(size_t remaining_bytes, size_t bytes_each) const {
    const size_t wanted = std::max(kLeastItemBytes, remaining_bytes / (2 * pool.size()));
    return std::max<size_t>(1, wanted / bytes_each);
  }

  // 32 rows of gate and of up, whose products are packed together.
  static size_t columns_of(const Network& network) {
    return ceil_divide(network.gate.num_rows, 32);
  }
  static size_t bytes_of(const Network& network) {
    return network.gate.num_bytes() + network.up.num_bytes();
  }
  static size_t bytes_per_column(const Network& network) {
    return 2 * (network.gate.tile_bytes() + network.up.tile_bytes());
  }

  Ahead ahead_of(const Matrix& w) const { return {&w, nullptr, w.num_bytes(), w.tile_bytes(), 1}; }
  // What stands at the beginning of a layer, or after the last one.
  Ahead ahead_of_layer(size_t index) const {
    if (index == sizes.num_layers)
      return ahead_of(model.output_.bytes ? model.output_ : model.embedding_);
    const Layer& layer = model.layers_[index];
    Ahead next = ahead_of(layer.query);
    next.num_bytes += layer.key.num_bytes() + layer.value.num_bytes();
    return next;
  }
  Ahead ahead_of(const Network& network) const {
    return {&network.gate, &network.up, bytes_of(network), bytes_per_column(network), 2};
  }

  void ask_for(const Ahead& next, int thread) const;
  void multiply(const std::vector<Product>& products, const Ahead& next = {});
  void write(const Product& product, size_t tile, const Item& item, const float* sums);
  // A thread's own memory: unpacked columns, four tiles of sums, a block's 32 columns.
  static constexpr size_t kSums = kRowsAtOnce * kRowsPerTile;
  uint8_t* unpack_scratch_of(int thread) {
    return scratch.per_thread[thread].of<uint8_t>(kUnpackBytes + 6 * kSums * sizeof(float));
  }
  float* sums_of(int thread) {
    return reinterpret_cast<float*>(unpack_scratch_of(thread) + kUnpackBytes);
  }

  void attention(size_t index, const Layer& layer);
  void route(size_t index, const Layer& layer);
  void send(size_t token, size_t group, float weight, int expert);
  void open_gates(size_t index);
  void ask_for_rows(size_t index) const;
  void feed_forward(size_t index, const Layer& layer);
  // A token is in its base networks' slots and in those of two notes experts at most.
  size_t num_slots_at_most() const {
    return T * (std::max<size_t>(sizes.num_chosen_experts, 1) + (experts.empty() ? 0 : 2));
  }

  void gate_and_up();
  void gate_and_up_of(const Group& group, size_t column, size_t row, size_t num_rows, int thread);
  void add_parts(size_t index, const float* slots_SD);
  bool speaks(size_t t, size_t layer) const;
  void begin_voices();
  void end_voices();
  void logits(float* logits_LV);
};

#include "transformer.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "matmul/repack.h"
#include "route/route.h"

// Letters: T tokens of the batch, D model width, F feed-forward width, E notes experts,
// S slots (a token with one of the networks that it runs through).

namespace {

// Rows of activations that stay in the second cache while a stretch of a matrix passes over them.
constexpr size_t kRowsAtOnce = 128;
// Up to this many rows, reading the weights is what takes time.
constexpr size_t kFewRows = 32;
// The shortest stretch of weights in an item then, and what is asked for before its step begins.
constexpr size_t kLeastItemBytes = 16 << 10, kAskedForBytes = 8 << 10;

size_t ceil_divide(size_t a, size_t b) { return (a + b - 1) / b; }

Panel make_panel(PanelBuffers& buffers, size_t rows, size_t width, bool quants, bool floats) {
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
}  // namespace

Transformer::Transformer(const Sizes& sizes, std::vector<float> turns_c,
                         const std::string& kv_format, const std::string& variant, int num_threads)
    : sizes_(sizes),
      turns_c_(std::move(turns_c)),
      kernels_(kernels_of(variant)),
      pool_(num_threads),
      attention_(sizes, kv_format_of(kv_format), kernels_),
      layers_(sizes.num_layers) {
  if (turns_c_.size() != sizes.head_width / 2)
    throw std::invalid_argument("one frequency per rotated pair is needed");
  for (Layer& layer : layers_) layer.networks.resize(std::max<size_t>(sizes.num_base_experts, 1));
  scratch_.per_thread.resize(num_threads);
}

Matrix& Transformer::matrix(const std::string& name, size_t layer, size_t expert) {
  if (name == "embedding") return embedding_;
  if (name == "output") return output_;
  if (layer >= layers_.size()) throw std::invalid_argument("no layer " + std::to_string(layer));
  Layer& here = layers_[layer];
  if (name == "attention.query") return here.query;
  if (name == "attention.key") return here.key;
  if (name == "attention.value") return here.value;
  if (name == "attention.output") return here.output;
  if (expert >= here.networks.size())
    throw std::invalid_argument("no base expert " + std::to_string(expert));
  Network& network = here.networks[expert];
  if (name == "gate") return network.gate;
  if (name == "up") return network.up;
  if (name == "down") return network.down;
  throw std::invalid_argument("no matrix is called " + name);
}

std::vector<float>& Transformer::vector(const std::string& name, size_t layer) {
  if (name == "final_norm") return final_norm_;
  if (layer >= layers_.size()) throw std::invalid_argument("no layer " + std::to_string(layer));
  Layer& here = layers_[layer];
  if (name == "attention_norm") return here.attention_norm;
  if (name == "ffn_norm") return here.ffn_norm;
  if (name == "query_norm") return here.query_norm;
  if (name == "key_norm") return here.key_norm;
  if (name == "qkv_bias") return here.qkv_bias;
  if (name == "route") return here.route_ED;
  throw std::invalid_argument("no vector is called " + name);
}

std::string Transformer::fault() const {
  const size_t D = sizes_.model_width, F = sizes_.ffn_width;
  std::string wrong;
  auto want = [&](const Matrix& m, size_t rows, size_t columns, const std::string& name) {
    if (wrong.empty() && (m.num_rows != rows || m.num_columns != columns || !m.bytes)) wrong = name;
  };
  auto want_vector = [&](const std::vector<float>& v, size_t count, const std::string& name) {
    if (wrong.empty() && v.size() != count) wrong = name;
  };
  want(embedding_, sizes_.vocab_size, D, "embedding");
  if (output_.bytes) want(output_, sizes_.vocab_size, D, "output");
  want_vector(final_norm_, D, "final_norm");
  for (size_t l = 0; l < layers_.size(); ++l) {
    const Layer& layer = layers_[l];
    const std::string at = "layer " + std::to_string(l) + ": ";
    want_vector(layer.attention_norm, D, at + "attention_norm");
    want_vector(layer.ffn_norm, D, at + "ffn_norm");
    want(layer.query, sizes_.query_width(), D, at + "query");
    want(layer.key, sizes_.kv_width(), D, at + "key");
    want(layer.value, sizes_.kv_width(), D, at + "value");
    want(layer.output, D, sizes_.query_width(), at + "output");
    if (!layer.query_norm.empty()) {
      want_vector(layer.query_norm, sizes_.query_width(), at + "query_norm");
      want_vector(layer.key_norm, sizes_.kv_width(), at + "key_norm");
    }
    if (!layer.qkv_bias.empty())
      want_vector(layer.qkv_bias, sizes_.query_width() + 2 * sizes_.kv_width(), at + "bias");
    want_vector(layer.route_ED, sizes_.num_base_experts * D, at + "route");
    for (const Network& network : layer.networks) {
      want(network.gate, F, D, at + "gate");
      want(network.up, F, D, at + "up");
      want(network.down, D, F, at + "down");
    }
  }
  return wrong;
}

// One forward pass: its sizes, its buffers, and the steps of a layer.
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

  void embed() {
    over_tokens(T, 16, [&](size_t t) {
      float* x = x_TD + t * D;
      unpack_row(model.embedding_, static_cast<size_t>(batch.token_ids[t]), x);
      if (sizes.embedding_multiplier != 1.0f)
        for (size_t i = 0; i < D; ++i) x[i] *= sizes.embedding_multiplier;
    });
    const size_t d = sizes.head_width, c = d / 2;
    cos_Td = scratch.angles.of<float>(2 * T * d);
    sin_Td = cos_Td + T * d;
    over_tokens(T, 16, [&](size_t t) {
      float *cos_d = cos_Td + t * d, *sin_d = sin_Td + t * d;
      for (size_t i = 0; i < c; ++i) {
        const float angle = static_cast<float>(positions_T[t]) * model.turns_c_[i];
        place_angle({std::cos(angle), std::sin(angle)}, i, d, sizes.rotates_halves, cos_d, sin_d);
      }
    });
  }

  // Norms of x into h, packed for the matrices that read them.
  void norm(const std::vector<float>& scale, const Panel* panel) {
    over_tokens(ceil_divide(T, kRowsPerBlock), 2, [&](size_t block) {
      const size_t first = block * kRowsPerBlock, n = std::min(kRowsPerBlock, T - first);
      const float* rows[kRowsPerBlock];
      for (size_t t = 0; t < n; ++t) {
        rows[t] = h_TD + (first + t) * D;
        kernels.rms_norm(x_TD + (first + t) * D, scale.data(), h_TD + (first + t) * D, D,
                         sizes.norm_eps);
      }
      if (panel) kernels.pack_rows(rows, 0, D, panel->from(first, n));
    });
  }

  void pack(const float* x, const Panel& panel) {
    over_tokens(ceil_divide(panel.num_rows, kRowsPerBlock), 2, [&](size_t block) {
      const size_t first = block * kRowsPerBlock;
      const size_t n = std::min(kRowsPerBlock, panel.num_rows - first);
      const float* rows[kRowsPerBlock];
      for (size_t t = 0; t < n; ++t) rows[t] = x + (first + t) * panel.width;
      kernels.pack_rows(rows, 0, panel.width, panel.from(first, n));
    });
  }

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

  // Asks the memory for what this thread will most likely read first in the next step, while the
  // others end this one.
  void ask_for(const Ahead& next, int thread) const {
    if (!next.first || T > kFewRows) return;
    const size_t tile = thread * stretch_of(next.num_bytes, next.bytes_each) * next.tiles_each;
    for (const Matrix* w : {next.first, next.second}) {
      if (!w || tile >= w->num_tiles()) continue;
      const size_t num_bytes = std::min(kAskedForBytes, (w->num_tiles() - tile) * w->tile_bytes());
      for (size_t at = 0; at < num_bytes; at += 64) __builtin_prefetch(w->tile(tile) + at, 0, 2);
    }
  }

  // All products of one step, cut into items.
  void multiply(const std::vector<Product>& products, const Ahead& next = {}) {
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

  void write(const Product& product, size_t tile, const Item& item, const float* sums) {
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

  // A thread's own memory: unpacked columns, four tiles of sums, a block's 32 columns.
  static constexpr size_t kSums = kRowsAtOnce * kRowsPerTile;
  uint8_t* unpack_scratch_of(int thread) {
    return scratch.per_thread[thread].of<uint8_t>(kUnpackBytes + 6 * kSums * sizeof(float));
  }
  float* sums_of(int thread) {
    return reinterpret_cast<float*>(unpack_scratch_of(thread) + kUnpackBytes);
  }

  void attention(size_t index, const Layer& layer) {
    Needs needs;
    needs.add(layer.query);
    needs.add(layer.key);
    needs.add(layer.value);
    const Panel input = make_panel(scratch.attention, T, D, needs.quants, needs.floats);
    norm(layer.attention_norm, &input);
    const size_t Q = sizes.query_width(), G = sizes.kv_width(), stride = Q + 2 * G;
    float* qkv = scratch.qkv.of<float>(T * stride);
    const float* bias = layer.qkv_bias.empty() ? nullptr : layer.qkv_bias.data();
    multiply({{&layer.query, input, qkv, stride, bias, 0.0f},
              {&layer.key, input, qkv + Q, stride, bias ? bias + Q : nullptr, 0.0f},
              {&layer.value, input, qkv + Q + G, stride, bias ? bias + Q + G : nullptr, 0.0f}},
             ahead_of(layer.output));

    const size_t d = sizes.head_width, heads = sizes.num_heads + sizes.num_kv_heads;
    PagedAttention& paged = model.attention_;
    over_stretches(T, 16, [&](size_t first, size_t end) {
      for (size_t t = first; t < end; ++t) {
        float* row = qkv + t * stride;
        if (!layer.query_norm.empty()) {
          kernels.rms_norm(row, layer.query_norm.data(), row, Q, sizes.norm_eps);
          kernels.rms_norm(row + Q, layer.key_norm.data(), row + Q, G, sizes.norm_eps);
        }
        kernels.rotate_heads(row, heads, cos_Td + t * d, sin_Td + t * d, d, sizes.rotates_halves);
      }
      paged.keep(batch, index, {qkv, stride}, first, end);
    });

    float* mixed = scratch.mixed.of<float>(T * Q);
    paged.attend(batch, index, {qkv, stride}, pool, mixed);
    Needs output_needs;
    output_needs.add(layer.output);
    const Panel packed =
        make_panel(scratch.mixed_panel, T, Q, output_needs.quants, output_needs.floats);
    pack(mixed, packed);
    multiply({{&layer.output, packed, x_TD, D, nullptr, sizes.residual_multiplier}},
             sizes.num_base_experts ? Ahead{} : ahead_of(layer.networks[0]));
  }

  void route(size_t index, const Layer& layer) {
    const size_t K = sizes.num_chosen_experts;
    const RouteSizes route_sizes{D, sizes.num_base_experts, K, sizes.renormalises_route};
    std::vector<uint32_t> chosen_TK(T * K);
    std::vector<float> weights_TK(T * K);
    const uint32_t* wanted_TK =
        decisions.wanted_routes_LTK ? decisions.wanted_routes_LTK + index * T * K : nullptr;
    over_tokens(T, 16, [&](size_t t) {
      choose_experts(kernels, route_sizes, h_TD + t * D, layer.route_ED.data(),
                     wanted_TK ? wanted_TK + t * K : nullptr, &chosen_TK[t * K],
                     &weights_TK[t * K]);
    });
    if (decisions.routes_LTK)
      std::copy(chosen_TK.begin(), chosen_TK.end(), decisions.routes_LTK + index * T * K);
    if (wanted_TK) chosen_TK.assign(wanted_TK, wanted_TK + T * K);
    for (const Network& network : layer.networks) groups.push_back({&network, {}, 0, {}, {}});
    for (size_t t = 0; t < T; ++t)
      for (size_t k = 0; k < K; ++k) send(t, chosen_TK[t * K + k], weights_TK[t * K + k], -1);
  }

  void send(size_t token, size_t group, float weight, int expert) {
    const auto place = static_cast<uint32_t>(groups[group].tokens.size());
    groups[group].tokens.push_back(static_cast<uint32_t>(token));
    parts_T[token].push_back({static_cast<uint32_t>(group), place, weight, expert});
  }

  // Notes experts' gates: softmax over the best two of {z > 0} and the base's 0.
  void open_gates(size_t index) {
    std::vector<int> here;
    for (size_t e = 0; e < experts.size(); ++e)
      if (experts[e]->count(index)) here.push_back(static_cast<int>(e));
    if (decisions.open_LT2) std::fill_n(decisions.open_LT2 + index * 2 * T, 2 * T, -1);
    if (here.empty()) return;
    struct Open {
      int place = -1;
      float z = 0.0f;
    };
    std::vector<Open> best_T2(2 * T);
    over_tokens(T, 16, [&](size_t t) {
      Open* best = &best_T2[2 * t];
      for (size_t i = 0; i < here.size(); ++i) {
        if (!batch.spans[spans_T[t]].allowed_E[here[i]]) continue;
        const NotesLayer& notes = experts[here[i]]->at(index);
        const Open open{static_cast<int>(i), kernels.dot(h_TD + t * D, notes.row_D.data(), D)};
        // Ties go to the expert that stands first.
        if (open.z > best[0].z)
          best[1] = best[0], best[0] = open;
        else if (open.z > best[1].z)
          best[1] = open;
      }
      for (size_t i = 0; i < 2; ++i) {
        const size_t at = (index * T + t) * 2 + i;
        if (decisions.open_LT2 && best[i].place >= 0) decisions.open_LT2[at] = here[best[i].place];
        if (!decisions.wanted_open_LT2) continue;
        const auto wanted = std::find(here.begin(), here.end(), decisions.wanted_open_LT2[at]);
        best[i] = {};
        if (wanted == here.end()) continue;
        const NotesLayer& notes = experts[*wanted]->at(index);
        best[i] = {static_cast<int>(wanted - here.begin()),
                   kernels.dot(h_TD + t * D, notes.row_D.data(), D)};
      }
    });
    const size_t first_group = groups.size();
    for (int e : here) groups.push_back({&experts[e]->at(index).network, {}, 0, {}, {}});
    for (size_t t = 0; t < T; ++t) {
      Open* best = &best_T2[2 * t];
      if (best[0].place < 0) continue;
      // With one open expert its rival is the base, whose logit is 0.
      const float rival = std::exp(best[1].z - best[0].z);
      struct {
        int place;
        float alpha;
      } two[2] = {{best[0].place, 1.0f / (1.0f + rival)}, {best[1].place, rival / (1.0f + rival)}};
      if (two[1].place >= 0 && two[1].place < two[0].place) std::swap(two[0], two[1]);
      for (const auto& [place, alpha] : two)
        if (place >= 0 && alpha > 0.0f) send(t, first_group + place, alpha, here[place]);
    }
  }

  // Rows of experts come from memory while the block's input is made.
  void ask_for_rows(size_t index) const {
    if (T > kFewRows) return;
    for (const NotesExpert* expert : experts) {
      const auto notes = expert->find(index);
      if (notes == expert->end()) continue;
      const std::vector<float>& row_D = notes->second.row_D;
      for (size_t d = 0; d < D; d += 16) __builtin_prefetch(&row_D[d]);
    }
  }

  void feed_forward(size_t index, const Layer& layer) {
    ask_for_rows(index);
    groups.clear();
    parts_T.resize(T);
    for (std::vector<Part>& parts : parts_T) parts.clear();
    const bool is_dense = sizes.num_base_experts == 0;
    Needs needs;
    if (is_dense) {
      needs.add(layer.networks[0].gate);
      needs.add(layer.networks[0].up);
      // All tokens, each in its own slot: the norm packs them at once.
      const Panel all = make_panel(scratch.ffn, num_slots_at_most(), D, needs.quants, needs.floats);
      const Panel base = all.from(0, T);
      norm(layer.ffn_norm, &base);
      groups.push_back({&layer.networks[0], {}, 0, {}, {}});
      for (uint32_t t = 0; t < T; ++t) groups[0].tokens.push_back(t);
    } else {
      norm(layer.ffn_norm, nullptr);
      route(index, layer);
    }
    open_gates(index);

    size_t S = 0;
    std::vector<std::pair<uint32_t, uint32_t>> to_pack;  // (group, first of its rows)
    for (size_t g = 0; g < groups.size(); ++g) {
      Group& group = groups[g];
      group.first_slot = S;
      S += group.tokens.size();
      needs.add(group.network->gate);
      needs.add(group.network->up);
      if (g > 0 || !is_dense)
        for (size_t row = 0; row < group.tokens.size(); row += kRowsPerBlock)
          to_pack.emplace_back(g, row);
    }
    const Panel inputs =
        make_panel(scratch.ffn, std::max(S, num_slots_at_most()), D, needs.quants, needs.floats);
    for (Group& group : groups) group.input = inputs.from(group.first_slot, group.tokens.size());
    over_tokens(to_pack.size(), 2, [&](size_t i) {
      const Group& group = groups[to_pack[i].first];
      const size_t first = to_pack[i].second;
      const size_t n = std::min(kRowsPerBlock, group.tokens.size() - first);
      const float* rows[kRowsPerBlock];
      for (size_t t = 0; t < n; ++t) rows[t] = h_TD + group.tokens[first + t] * D;
      kernels.pack_rows(rows, 0, D, group.input.from(first, n));
    });
    gate_and_up();

    float* slots_SD = scratch.slots.of<float>(S * D);
    std::vector<Product> products;
    for (size_t g = 0; g < groups.size(); ++g) {
      const Group& group = groups[g];
      if (group.tokens.empty()) continue;
      // A dense base's block goes where it belongs; its norm is known while it stands apart.
      if (g == 0 && is_dense && !voices.shares_TE)
        products.push_back(
            {&group.network->down, group.act, x_TD, D, nullptr, sizes.residual_multiplier});
      else
        products.push_back(
            {&group.network->down, group.act, slots_SD + group.first_slot * D, D, nullptr, 0.0f});
    }
    multiply(products, ahead_of_layer(index + 1));
    if (!is_dense || groups.size() > 1 || voices.shares_TE) add_parts(index, slots_SD);
  }

  // A token is in its base networks' slots and in those of two notes experts at most.
  size_t num_slots_at_most() const {
    return T * (std::max<size_t>(sizes.num_chosen_experts, 1) + (experts.empty() ? 0 : 2));
  }

  // act = silu(gate · h) ⊙ up · h, packed for the down-projection as it is made: 32 columns of up
  // to kRowsAtOnce rows at a time.
  void gate_and_up() {
    size_t widest = 0, quants = 0, floats = 0, rows = 0, remaining = 0;
    for (const Group& group : groups) {
      const Matrix& down = group.network->down;
      widest = std::max(widest, down.num_columns);
      (is_in_blocks(down.format) ? quants : floats) += 1;
      rows += group.tokens.size();
      if (!group.tokens.empty()) remaining += bytes_of(*group.network);
    }
    const Panel all = make_panel(scratch.act, rows, widest, quants > 0, floats > 0);
    struct Stretch {
      uint32_t group, first, end, row, num_rows;  // in columns of 32
    };
    std::vector<Stretch> items;
    for (uint32_t g = 0; g < groups.size(); ++g) {
      Group& group = groups[g];
      // Places are by the widest network, so that narrower ones fit without counting.
      group.act = all.from(group.first_slot, group.tokens.size());
      group.act.width = group.network->down.num_columns;
      const Matrix& down = group.network->down;
      if (!is_in_blocks(down.format)) group.act.quants = nullptr;
      if (is_in_blocks(down.format)) group.act.floats = nullptr;
      const size_t rows_here = group.tokens.size();
      const auto num_columns = static_cast<uint32_t>(columns_of(*group.network));
      for (size_t row = 0; rows_here > kFewRows && row < rows_here; row += kRowsAtOnce)
        for (uint32_t column = 0; column < num_columns; ++column)
          items.push_back({g, column, column + 1, static_cast<uint32_t>(row),
                           static_cast<uint32_t>(std::min(kRowsAtOnce, rows_here - row))});
      if (rows_here == 0 || rows_here > kFewRows) continue;
      for (uint32_t column = 0; column < num_columns;) {
        const auto count = static_cast<uint32_t>(std::min<size_t>(
            num_columns - column, stretch_of(remaining, bytes_per_column(*group.network))));
        items.push_back({g, column, column + count, 0, static_cast<uint32_t>(rows_here)});
        remaining -= std::min(remaining, count * bytes_per_column(*group.network));
        column += count;
      }
    }
    const auto first = std::find_if(groups.begin(), groups.end(),
                                    [](const Group& group) { return !group.tokens.empty(); });
    const Ahead next = first == groups.end() ? Ahead{} : ahead_of(first->network->down);
    pool.run(items.size(), [&](size_t i, int thread) {
      const Stretch& item = items[i];
      for (uint32_t column = item.first; column < item.end; ++column)
        gate_and_up_of(groups[item.group], column, item.row, item.num_rows, thread);
      if (i + pool.size() >= items.size()) ask_for(next, thread);
    });
  }

  void gate_and_up_of(const Group& group, size_t column, size_t row, size_t num_rows, int thread) {
    const Network& network = *group.network;
    uint8_t* unpack_scratch = unpack_scratch_of(thread);
    float* gate = sums_of(thread);
    float* up = gate + kSums;
    float* act = gate + 2 * kSums;  // rows of 32
    const Panel x = group.input.from(row, num_rows);
    for (size_t half = 0; half < 2; ++half) {
      const size_t tile = 2 * column + half;
      if (tile >= network.gate.num_tiles()) break;
      kernels.matmul_tile(network.gate, tile, x, gate, unpack_scratch);
      kernels.matmul_tile(network.up, tile, x, up, unpack_scratch);
      kernels.swiglu_tile(gate, up, num_rows, act + half * kRowsPerTile, 32);
    }
    const size_t count = std::min<size_t>(32, group.act.width - column * 32);
    for (size_t first = 0; first < num_rows; first += kRowsPerBlock) {
      const size_t n = std::min(kRowsPerBlock, num_rows - first);
      const float* rows[kRowsPerBlock];
      for (size_t t = 0; t < n; ++t) rows[t] = act + (first + t) * 32;
      kernels.pack_rows(rows, column * 32, count, group.act.from(row + first, n));
    }
  }

  // x += F(h), x += α E(h) for each open expert: the base's parts in the order of the route, then
  // experts' by hash.
  void add_parts(size_t index, const float* slots_SD) {
    const size_t E = experts.size();
    const bool is_dense = sizes.num_base_experts == 0;
    over_tokens(T, 8, [&](size_t t) {
      const std::vector<Part>& parts = parts_T[t];
      float* x = x_TD + t * D;
      float* y = h_TD + t * D;  // the block's input isn't needed any more
      size_t next = 0;
      auto result_of = [&](const Part& part) {
        return slots_SD + (groups[part.group].first_slot + part.place) * D;
      };
      for (; next < parts.size() && parts[next].expert < 0; ++next) {
        const float* result = result_of(parts[next]);
        const float weight = parts[next].weight;
        if (next == 0)
          for (size_t i = 0; i < D; ++i) y[i] = weight * result[i];
        else
          for (size_t i = 0; i < D; ++i) y[i] += weight * result[i];
      }
      const float* base = is_dense ? slots_SD + t * D : y;
      if (voices.shares_TE && speaks(t, index))
        base_norms_T[t] += std::sqrt(kernels.dot(base, base, D));
      if (!is_dense || voices.shares_TE)
        for (size_t i = 0; i < D; ++i) x[i] += sizes.residual_multiplier * base[i];
      for (; next < parts.size(); ++next) {
        const float* result = result_of(parts[next]);
        const Part& part = parts[next];
        const float times = sizes.residual_multiplier * part.weight;
        for (size_t i = 0; i < D; ++i) x[i] += times * result[i];
        if (voices.shares_TE) {
          voices.shares_TE[t * E + part.expert] +=
              part.weight * std::sqrt(kernels.dot(result, result, D));
          voices.gates_TE[t * E + part.expert] += part.weight;
        }
      }
    });
  }

  // Whether one of the experts that this token's request has in place has a network here.
  bool speaks(size_t t, size_t layer) const {
    for (size_t e = 0; e < experts.size(); ++e)
      if (batch.spans[spans_T[t]].allowed_E[e] && experts[e]->count(layer)) return true;
    return false;
  }

  void begin_voices() {
    if (!voices.shares_TE) return;
    base_norms_T.assign(T, 0.0f);
    std::fill_n(voices.shares_TE, T * experts.size(), 0.0f);
    std::fill_n(voices.gates_TE, T * experts.size(), 0.0f);
  }

  void end_voices() {
    if (!voices.shares_TE) return;
    const size_t E = experts.size();
    for (size_t t = 0; t < T; ++t) {
      size_t num_layers = 0;
      for (size_t l = 0; l < sizes.num_layers; ++l) num_layers += speaks(t, l);
      float total = base_norms_T[t];
      for (size_t e = 0; e < E; ++e) total += voices.shares_TE[t * E + e];
      for (size_t e = 0; e < E; ++e) {
        voices.shares_TE[t * E + e] /= std::max(total, 1e-30f);
        voices.gates_TE[t * E + e] /= static_cast<float>(std::max<size_t>(num_layers, 1));
      }
    }
  }

  void logits(float* logits_LV) {
    std::vector<size_t> rows;
    for (const Batch::Span& span : batch.spans)
      for (size_t i = span.count - span.num_logits; i < span.count; ++i)
        rows.push_back(span.begin + i);
    const size_t L = rows.size(), V = sizes.vocab_size;
    float* final_LD = scratch.final.of<float>(L * D);
    over_tokens(L, 16, [&](size_t i) {
      kernels.rms_norm(x_TD + rows[i] * D, model.final_norm_.data(), final_LD + i * D, D,
                       sizes.norm_eps);
      if (sizes.logits_scaling != 1.0f)
        for (size_t d = 0; d < D; ++d) final_LD[i * D + d] /= sizes.logits_scaling;
    });
    const Matrix& output = model.output_.bytes ? model.output_ : model.embedding_;
    Needs needs;
    needs.add(output);
    const Panel packed = make_panel(scratch.logits, L, D, needs.quants, needs.floats);
    pack(final_LD, packed);
    multiply({{&output, packed, logits_LV, V, nullptr, 0.0f}});
  }
};

void Transformer::forward(const Batch& batch, float* logits_LV, const Voices& voices,
                          const Decisions& decisions) {
  Pass pass(*this, batch, voices, decisions);
  pass.begin_voices();
  pass.embed();
  for (size_t index = 0; index < layers_.size(); ++index) {
    pass.attention(index, layers_[index]);
    pass.feed_forward(index, layers_[index]);
  }
  pass.logits(logits_LV);
  pass.end_voices();
}

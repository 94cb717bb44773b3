#pragma once
// A model's sizes and weights as the transformer holds them.
#include <map>
#include <string>
#include <vector>

#include "matmul/matrix.h"

struct Sizes {
  size_t vocab_size, model_width, ffn_width, num_layers;
  size_t num_heads, num_kv_heads, head_width;
  float norm_eps;
  bool rotates_halves;
  size_t num_base_experts, num_chosen_experts;  // 0 for dense models
  bool renormalises_route;
  int64_t window;  // how far back a token sees, itself included
  // What some families multiply by; 1 (and 1/sqrt(head_width)) elsewhere.
  float attention_scale, embedding_multiplier, residual_multiplier, logits_scaling;

  size_t query_width() const { return num_heads * head_width; }
  size_t kv_width() const { return num_kv_heads * head_width; }
};

// down · (silu(gate · h) ⊙ up · h)
struct Network {
  Matrix gate, up, down;
};

struct Layer {
  std::vector<float> attention_norm, ffn_norm;
  std::vector<float> query_norm, key_norm;  // empty for families without
  Matrix query, key, value, output;
  std::vector<float> qkv_bias;    // empty, or query's, key's and value's
  std::vector<float> route_ED;    // empty for dense models
  std::vector<Network> networks;  // one, or one per base expert
};

// What a notes expert adds in one layer.
struct NotesLayer {
  std::vector<float> row_D;
  Network network;
};

// By layer; layers without an entry are left alone.
using NotesExpert = std::map<size_t, NotesLayer>;

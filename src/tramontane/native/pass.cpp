// What stands around a layer's feed-forward block: embedding, norms, attention, logits, voices.
#include "pass.h"

void Transformer::Pass::embed() {
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
void Transformer::Pass::norm(const std::vector<float>& scale, const Panel* panel) {
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

void Transformer::Pass::pack(const float* x, const Panel& panel) {
  over_tokens(ceil_divide(panel.num_rows, kRowsPerBlock), 2, [&](size_t block) {
    const size_t first = block * kRowsPerBlock;
    const size_t n = std::min(kRowsPerBlock, panel.num_rows - first);
    const float* rows[kRowsPerBlock];
    for (size_t t = 0; t < n; ++t) rows[t] = x + (first + t) * panel.width;
    kernels.pack_rows(rows, 0, panel.width, panel.from(first, n));
  });
}

void Transformer::Pass::attention(size_t index, const Layer& layer) {
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

// Whether one of the experts that this token's request has in place has a network here.
bool Transformer::Pass::speaks(size_t t, size_t layer) const {
  for (size_t e = 0; e < experts.size(); ++e)
    if (batch.spans[spans_T[t]].allowed_E[e] && experts[e]->count(layer)) return true;
  return false;
}

void Transformer::Pass::begin_voices() {
  if (!voices.shares_TE) return;
  base_norms_T.assign(T, 0.0f);
  std::fill_n(voices.shares_TE, T * experts.size(), 0.0f);
  std::fill_n(voices.gates_TE, T * experts.size(), 0.0f);
}

void Transformer::Pass::end_voices() {
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

void Transformer::Pass::logits(float* logits_LV) {
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

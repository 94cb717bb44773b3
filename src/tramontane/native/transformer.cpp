#include "transformer.h"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>

#include "matmul/repack.h"
#include "pass.h"

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

void Transformer::forward(const Batch& batch, float* logits_LV, const Voices& voices,
                          const Decisions& decisions, const std::function<void()>& may_go_on) {
  Pass pass(*this, batch, voices, decisions);
  pass.begin_voices();
  pass.embed();
  for (size_t index = 0; index < layers_.size(); ++index) {
    may_go_on();
    pass.attention(index, layers_[index]);
    pass.feed_forward(index, layers_[index]);
  }
  pass.logits(logits_LV);
  pass.end_voices();
}

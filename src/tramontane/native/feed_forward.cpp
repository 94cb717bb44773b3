// The feed-forward block: the route, notes experts' gates, all networks together, their sum.
#include "pass.h"

void Transformer::Pass::route(size_t index, const Layer& layer) {
  const size_t K = sizes.num_chosen_experts;
  const RouteSizes route_sizes{D, sizes.num_base_experts, K, sizes.renormalises_route};
  std::vector<uint32_t> chosen_TK(T * K);
  std::vector<float> weights_TK(T * K);
  const uint32_t* wanted_TK =
      decisions.wanted_routes_LTK ? decisions.wanted_routes_LTK + index * T * K : nullptr;
  over_tokens(T, 16, [&](size_t t) {
    choose_experts(kernels, route_sizes, h_TD + t * D, layer.route_ED.data(),
                   wanted_TK ? wanted_TK + t * K : nullptr, &chosen_TK[t * K], &weights_TK[t * K]);
  });
  if (decisions.routes_LTK)
    std::copy(chosen_TK.begin(), chosen_TK.end(), decisions.routes_LTK + index * T * K);
  if (wanted_TK) chosen_TK.assign(wanted_TK, wanted_TK + T * K);
  for (const Network& network : layer.networks) groups.push_back({&network, {}, 0, {}, {}});
  for (size_t t = 0; t < T; ++t)
    for (size_t k = 0; k < K; ++k) send(t, chosen_TK[t * K + k], weights_TK[t * K + k], -1);
}

void Transformer::Pass::send(size_t token, size_t group, float weight, int expert) {
  const auto place = static_cast<uint32_t>(groups[group].tokens.size());
  groups[group].tokens.push_back(static_cast<uint32_t>(token));
  parts_T[token].push_back({static_cast<uint32_t>(group), place, weight, expert});
}

// Notes experts' gates: softmax over the best two of {z > 0} and the base's 0.
void Transformer::Pass::open_gates(size_t index) {
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
      if (voices.gates_TE && open.z > 0.0f)
        voices.gates_TE[t * experts.size() + here[i]] += 1.0f / (1.0f + std::exp(-open.z));
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
void Transformer::Pass::ask_for_rows(size_t index) const {
  if (T > kFewRows) return;
  for (const NotesExpert* expert : experts) {
    const auto notes = expert->find(index);
    if (notes == expert->end()) continue;
    const std::vector<float>& row_D = notes->second.row_D;
    for (size_t d = 0; d < D; d += 16) __builtin_prefetch(&row_D[d]);
  }
}

void Transformer::Pass::feed_forward(size_t index, const Layer& layer) {
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

// act = silu(gate · h) ⊙ up · h, packed for the down-projection as it is made: 32 columns of up
// to kRowsAtOnce rows at a time.
void Transformer::Pass::gate_and_up() {
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

void Transformer::Pass::gate_and_up_of(const Group& group, size_t column, size_t row,
                                       size_t num_rows, int thread) {
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
void Transformer::Pass::add_parts(size_t index, const float* slots_SD) {
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
      if (voices.shares_TE)
        voices.shares_TE[t * E + part.expert] +=
            part.weight * std::sqrt(kernels.dot(result, result, D));
    }
  });
}

// y = Σ_s p_s · v_s, p = softmax_s(scale · q · k_s), page by page.
#include "attention/attention.h"
#include "lanes.h"

namespace TRAMONTANE_VARIANT {
namespace {

constexpr size_t kPageLanes = kPageTokens / kLanes;

// scores[r][s] = Σ_d q[d][r] · k[d][s].
template <size_t n>
void scores_of(const float* q_dn, const uint16_t* keys, size_t d, float (*scores)[kPageTokens]) {
  Floats sums[n][kPageLanes];
  TRAMONTANE_UNROLL for (size_t r = 0; r < n; ++r) {
    TRAMONTANE_UNROLL for (size_t i = 0; i < kPageLanes; ++i) sums[r][i] = all(0.0f);
  }
  for (size_t at = 0; at < d; ++at) {
    Floats k[kPageLanes];
    TRAMONTANE_UNROLL for (size_t i = 0; i < kPageLanes; ++i) k[i] =
        from_half(keys + at * kPageTokens + i * kLanes);
    TRAMONTANE_UNROLL for (size_t r = 0; r < n; ++r) {
      const Floats q = all(q_dn[at * n + r]);
      TRAMONTANE_UNROLL for (size_t i = 0; i < kPageLanes; ++i) sums[r][i] =
          fma(k[i], q, sums[r][i]);
    }
  }
  TRAMONTANE_UNROLL for (size_t r = 0; r < n; ++r) {
    TRAMONTANE_UNROLL for (size_t i = 0; i < kPageLanes; ++i)
        store(scores[r] + i * kLanes, sums[r][i]);
  }
}

// mixed[r] = mixed[r] · rescale[r] + Σ_s p[r][s] · v[s], for `lanes` sixteens of coordinates.
template <size_t n, size_t lanes>
void mix(const uint16_t* values, size_t width, size_t first, size_t end,
         const float (*p)[kPageTokens], const float* rescale, float* mixed, size_t stride) {
  Floats y[n][lanes];
  TRAMONTANE_UNROLL for (size_t r = 0; r < n; ++r) {
    TRAMONTANE_UNROLL for (size_t i = 0; i < lanes; ++i) y[r][i] =
        mul(load(mixed + r * stride + i * kLanes), all(rescale[r]));
  }
  for (size_t s = first; s < end; ++s) {
    Floats v[lanes];
    TRAMONTANE_UNROLL for (size_t i = 0; i < lanes; ++i) v[i] =
        from_half(values + s * width + i * kLanes);
    TRAMONTANE_UNROLL for (size_t r = 0; r < n; ++r) {
      const Floats weight = all(p[r][s]);
      TRAMONTANE_UNROLL for (size_t i = 0; i < lanes; ++i) y[r][i] = fma(v[i], weight, y[r][i]);
    }
  }
  TRAMONTANE_UNROLL for (size_t r = 0; r < n; ++r) {
    TRAMONTANE_UNROLL for (size_t i = 0; i < lanes; ++i)
        store(mixed + r * stride + i * kLanes, y[r][i]);
  }
}

template <size_t n>
void attend_group(const QueryGroup& group, const PageLayout& layout, float* scratch) {
  const size_t d = layout.head_width, width = layout.padded_width();
  float* q_dn = scratch;
  float* mixed = scratch + n * d;
  int64_t from = INT64_MAX, to = 0;
  float largest[n], total[n];
  for (size_t r = 0; r < n; ++r) {
    for (size_t at = 0; at < d; ++at) q_dn[at * n + r] = group.query_d[r][at] * group.scale;
    for (size_t at = 0; at < width; ++at) mixed[r * width + at] = 0.0f;
    const int64_t first = group.position[r] - group.window + 1;
    from = from < first ? from : first;
    to = to > group.position[r] ? to : group.position[r];
    largest[r] = -__builtin_inff();
    total[r] = 0.0f;
  }
  const int64_t page_tokens = kPageTokens;
  float scores[n][kPageTokens], rescale[n];
  for (int64_t page = from > 0 ? from / page_tokens : 0; page <= to / page_tokens; ++page) {
    const uint16_t* keys = group.layer + group.pages[page] * layout.page_halves() +
                           group.kv_head * layout.head_halves();
    scores_of<n>(q_dn, keys, d, scores);
    size_t first_seen = kPageTokens, end_seen = 0;
    for (size_t r = 0; r < n; ++r) {
      const int64_t start = page * page_tokens;
      const int64_t begin = group.position[r] - group.window + 1 - start;
      const int64_t end = group.position[r] + 1 - start;
      rescale[r] = 1.0f;
      if (end <= 0 || begin >= page_tokens) {
        for (size_t i = 0; i < kPageTokens; i += kLanes) store(scores[r] + i, all(0.0f));
        continue;
      }
      const int low = begin > 0 ? static_cast<int>(begin) : 0;
      const int high = end < page_tokens ? static_cast<int>(end) : static_cast<int>(page_tokens);
      first_seen = first_seen < static_cast<size_t>(low) ? first_seen : low;
      end_seen = end_seen > static_cast<size_t>(high) ? end_seen : high;
      Floats s[kPageLanes], most = all(-__builtin_inff());
      TRAMONTANE_UNROLL for (size_t i = 0; i < kPageLanes; ++i) {
        const int offset = static_cast<int>(i * kLanes);
        s[i] = within(load(scores[r] + offset), low - offset, high - offset, -__builtin_inff());
        most = larger(most, s[i]);
      }
      const float now = largest_of(most);
      const float reach = largest[r] > now ? largest[r] : now;
      Floats sum = all(0.0f);
      TRAMONTANE_UNROLL for (size_t i = 0; i < kPageLanes; ++i) {
        s[i] = exponential(sub(s[i], all(reach)));
        store(scores[r] + i * kLanes, s[i]);
        sum = add(sum, s[i]);
      }
      float lanes[kLanes];
      store(lanes, exponential(all(largest[r] - reach)));
      rescale[r] = lanes[0];
      total[r] = total[r] * rescale[r] + sum_of(sum);
      largest[r] = reach;
    }
    const uint16_t* values = keys + layout.key_halves();
    size_t at = 0;
    for (; at + 4 * kLanes <= width; at += 4 * kLanes)
      mix<n, 4>(values + at, width, first_seen, end_seen, scores, rescale, mixed + at, width);
    for (; at < width; at += kLanes)
      mix<n, 1>(values + at, width, first_seen, end_seen, scores, rescale, mixed + at, width);
  }
  for (size_t r = 0; r < n; ++r) {
    const Floats inverse = all(1.0f / total[r]);
    for (size_t at = 0; at < d; at += kLanes)
      store_some(group.mixed_d[r] + at, mul(load(mixed + r * width + at), inverse), d - at);
  }
}

}  // namespace

void attend(const QueryGroup& group, const PageLayout& layout, float* scratch) {
  switch (group.count) {
    case 1:
      return attend_group<1>(group, layout, scratch);
    case 2:
      return attend_group<2>(group, layout, scratch);
    case 3:
      return attend_group<3>(group, layout, scratch);
    case 4:
      return attend_group<4>(group, layout, scratch);
    case 5:
      return attend_group<5>(group, layout, scratch);
    default:
      return attend_group<6>(group, layout, scratch);
  }
}

void keep_key(const float* k_d, const float* v_d, const PageLayout& layout, uint16_t* page,
              size_t kv_head, size_t slot) {
  uint16_t* keys = page + kv_head * layout.head_halves() + slot;
  uint16_t* values =
      page + kv_head * layout.head_halves() + layout.key_halves() + slot * layout.padded_width();
  for (size_t d = 0; d < layout.head_width; d += kLanes) {
    const size_t count = layout.head_width - d;
    uint16_t halves[kLanes];
    store_halves(halves, load_some(k_d + d, count));
    for (size_t i = 0; i < kLanes && i < count; ++i) keys[(d + i) * kPageTokens] = halves[i];
    store_halves(values + d, load_some(v_d + d, count));
  }
}

}  // namespace TRAMONTANE_VARIANT

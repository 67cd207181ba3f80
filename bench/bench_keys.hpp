// bench/bench_keys.hpp - the keys that every backend is asked for, and in which order.
//
// A trace is an array of 32-byte records, read front to back, so that fetching the next key costs next to nothing
// and what remains is the lookup.  Keys are 16 to 24 bytes of text.  Zipf ranks are scattered over the key numbers:
// hot entries must not lie side by side in memory because they were inserted one after the other.
#ifndef BENCH_BENCH_KEYS_HPP
#define BENCH_BENCH_KEYS_HPP
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace bench
{

struct key {
    uint8_t size;
    char text[31];
};
static_assert(sizeof(key) == 32, "two records a cache line");

inline bool operator==(const key &a, const key &b) { return a.size == b.size && memcmp(a.text, b.text, a.size) == 0; }

// splitmix64: small, and good enough to draw keys with.
struct random_source {
    uint64_t state;
    uint64_t next()
    {
        uint64_t z = (state += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    }
    double unit() { return (double)(next() >> 11) * (1.0 / 9007199254740992.0); }
};

// Zipf after Gray et al., "Quickly generating billion-record synthetic databases" (1994): closed form, theta != 1.
class zipf_source
{
  public:
    zipf_source(uint64_t count, double theta)
        : count_(count), alpha_(1.0 / (1.0 - theta)), zeta_(zeta(count, theta)), half_(1.0 + std::pow(0.5, theta)),
          eta_((1.0 - std::pow(2.0 / (double)count, 1.0 - theta)) / (1.0 - zeta(2, theta) / zeta_))
    {
    }
    // 0 is the hottest.
    uint64_t rank(random_source &random) const
    {
        double u = random.unit(), scaled = u * zeta_;
        if (scaled < 1.0)
            return 0;
        if (scaled < half_)
            return 1;
        auto r = (uint64_t)((double)count_ * std::pow(eta_ * u - eta_ + 1.0, alpha_));
        return r < count_ ? r : count_ - 1;
    }

  private:
    static double zeta(uint64_t n, double theta)
    {
        double sum = 0;
        for (uint64_t i = 1; i <= n; i++)
            sum += std::pow((double)i, -theta);
        return sum;
    }
    uint64_t count_;
    double alpha_, zeta_, half_, eta_;
};

inline uint64_t fold(uint64_t a, uint64_t b)
{
    auto product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

// What the floors and the hand-rolled peers hash with: fast, and only for keys of 16 to 32 bytes.
inline uint64_t hash_key(const key &k, uint64_t seed = 0)
{
    uint64_t a, b, c, d;
    memcpy(&a, k.text, 8);
    memcpy(&b, k.text + 8, 8);
    memcpy(&c, k.text + k.size - 16, 8);
    memcpy(&d, k.text + k.size - 8, 8);
    return fold(fold(a ^ 0xa0761d6478bd642fu, b ^ seed) ^ k.size,
                fold(c ^ 0xe7037ed1a0b428dbu, d ^ 0x8ebc6af09c88c6e3u ^ seed));
}

inline key make_key(uint64_t number)
{
    static const char hex[] = "0123456789abcdef";
    random_source tail_source = { number * 0x2545f4914f6cdd1du + 7 };
    uint64_t tail = tail_source.next();
    key k = {};
    memcpy(k.text, "u:", 2);
    for (unsigned i = 0; i < 8; i++)
        k.text[2 + i] = hex[(number >> (4 * (7 - i))) & 15];
    unsigned extra = 6 + (unsigned)(number % 9); // 16 to 24 bytes in all, 20 on average
    for (unsigned i = 0; i < extra; i++)
        k.text[10 + i] = hex[(tail >> (4 * i)) & 15];
    k.size = (uint8_t)(10 + extra);
    return k;
}

enum class distribution { zipf99, uniform, hot };

inline const char *name_of(distribution d)
{
    return d == distribution::zipf99 ? "zipf99" : d == distribution::uniform ? "uniform" : "hot";
}

inline std::vector<key> make_trace(distribution d, const zipf_source &zipf, uint64_t entries, size_t length,
                                   uint64_t seed)
{
    const uint64_t scatter = 2654435761u; // a prime: no two ranks meet
    std::vector<key> trace(length);
    random_source random = { seed };
    for (auto &k : trace) {
        uint64_t number = 0; // hot: one and the same key
        if (d == distribution::zipf99)
            number = (zipf.rank(random) * scatter) % entries;
        if (d == distribution::uniform)
            number = random.next() % entries;
        k = make_key(number);
    }
    return trace;
}

} // namespace bench
#endif // BENCH_BENCH_KEYS_HPP

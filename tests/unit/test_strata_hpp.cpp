// test_strata_hpp.cpp - the C++ wrapper: who owns what, what is thrown, and what never crosses the C boundary.
#include "strata/strata.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <unistd.h>

using strata_cpp::cache;
using strata_cpp::error;
using strata_cpp::load;
using strata_cpp::slice;
using strata_cpp::space;
using strata_cpp::value;

static int failures;

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            failures++; \
        } \
    } while (0)

// The status that `f` throws; 0 where it does not.
template <class F> static int thrown(F f, std::string *words = nullptr)
{
    try {
        f();
    } catch (const error &e) {
        if (words != nullptr)
            *words = e.what();
        return e.status();
    }
    return 0;
}

static int plain_function(load &l, slice key) { return l.copy(key); }

static void values()
{
    value none;
    CHECK(!none && none.size() == 0 && none.str().empty() && none.status() == STRATA_MISS);
    cache c("memory:?max_bytes=1mb");
    c.set("k", "value");
    value v = c.get("k");
    CHECK(v && v.str() == "value" && v.status() == STRATA_OK && !v.stale());
    CHECK(std::string(v.begin(), v.end()) == "value");
    value again = v.share();
    value moved = std::move(v);
    CHECK(!v && moved.str() == "value" && again.data() == moved.data());
    moved = std::move(again);
    CHECK(moved.str() == "value" && !again);
    value &self = moved;
    moved = std::move(self);
    CHECK(moved.str() == "value");
    value adopted(moved.release());
    CHECK(!moved && adopted.str() == "value");
    c.erase("k");
    CHECK(!c.get("k") && adopted.str() == "value");
#if __cplusplus >= 201703L
    CHECK(adopted.view() == "value" && slice(std::string_view("ab")).view() == "ab");
#endif
}

static void loaders()
{
    cache c("memory:?max_bytes=1mb");
    int calls = 0;
    CHECK(c.get_or_load("a", [&](load &, slice key) {
               calls++;
               return key.str() + "!";
           }).str() == "a!");
    CHECK(c.get_or_load("a", [&](load &, slice) {
               calls++;
               return std::string("other");
           }).str() == "a!");
    CHECK(calls == 1);
    CHECK(c.get_or_load("b", plain_function).str() == "b");
    CHECK(c.get_or_load("c", &plain_function).str() == "c");
    CHECK(c.get_or_load("d", [](load &, slice) { return "text"; }).str() == "text");
    CHECK(c.get_or_load("d1", [](load &l, slice) {
               CHECK(l.validator().size() == 0 && l.last_modified().size() == 0);
               return l.set_validator("v1", "Mon") == STRATA_OK ? "named" : "not";
           }).str() == "named");
    CHECK(c.get_or_load("e", [](load &, slice) { return std::vector<char>(3, 'x'); }).str() == "xxx");
    CHECK(c.get_or_load("f", [](load &l, slice) { return l.absent(); }).absent());
    CHECK(c.get_or_load("g", [](load &l, slice) { return l.decline("once"); }).str() == "once");
    CHECK(!c.has("g"));
    struct {
        std::string operator()(load &, slice key) const { return key.str(); }
    } const functor = {};
    CHECK(c.get_or_load("h", functor).str() == "h");
}

static void exceptions_of_loaders()
{
    cache c("memory:?max_bytes=1mb");
    std::string words;
    CHECK(thrown([&] { c.get_or_load("a", [](load &, slice) -> std::string { throw std::runtime_error("on fire"); }); },
                 &words) == STRATA_ELOADER);
    CHECK(words == "on fire");
    CHECK(thrown([&] { c.get_or_load("b", [](load &, slice) -> std::string { throw 7; }); }) == STRATA_ELOADER);
    CHECK(thrown([&] { c.get_or_load("c", [](load &, slice) -> std::string { throw std::bad_alloc(); }); }) ==
          STRATA_ENOMEM);
    CHECK(thrown([&] {
              c.get_or_load("d", [](load &, slice) -> std::string {
                  strata_error e = STRATA_ERROR_INIT;
                  e.status = STRATA_EBUSY;
                  throw error(e);
              });
          }) == STRATA_EBUSY);
    CHECK(thrown([&] { c.get_or_load("e", [](load &l, slice) { return l.fail(STRATA_EIO, "disk"); }); }, &words) ==
          STRATA_EIO);
    CHECK(words == "disk");
    CHECK(!c.has("a")); // nothing is left behind
    CHECK(c.get_or_load("a", plain_function).str() == "a");
}

static void statuses_without_exceptions()
{
    cache c("memory:?max_bytes=1mb");
    value v;
    strata_error err = STRATA_ERROR_INIT;
    CHECK(c.try_get("k", v) == STRATA_MISS && !v);
    CHECK(c.try_set("k", "v") == STRATA_OK && c.try_get("k", v) == STRATA_OK && v.str() == "v");
    CHECK(c.try_get("", v, &err) == STRATA_EKEYSIZE && !v && err.message[0] != '\0');
    CHECK(c.try_expire("k") == STRATA_OK && c.try_expire("none") == STRATA_MISS);
    CHECK(c.try_get_or_load(
              "k", [](load &, slice) -> std::string { throw 1; }, v, nullptr, &err) == STRATA_ELOADER &&
          !v);
    CHECK(c.try_get_or_load("k", v, nullptr, &err) == STRATA_EINVAL); // no loader at all
    CHECK(c.try_erase("k") == STRATA_OK && c.try_clear() == STRATA_OK);
    CHECK(thrown([&] { c.get(""); }) == STRATA_EKEYSIZE);
    CHECK(thrown([] { cache bad("memry:"); }) == STRATA_EINVAL);
}

static void spaces()
{
    cache c("memory:?max_bytes=1mb");
    strata_cpp::policy p;
    p.negative_ttl_ms = 60000;
    int calls = 0;
    {
        space s = c.open_space(
            "s",
            [&calls](load &, slice key) {
                calls++;
                return "loaded " + key.str();
            },
            &p);
        CHECK(s.get_or_load("k").str() == "loaded k");
    }
    space again = c.open_space("s"); // its loader outlived the reference
    CHECK(again.get_or_load("k").str() == "loaded k" && again.get_or_load("l").str() == "loaded l" && calls == 2);
    c.set("k", "root");
    space moved = std::move(again);
    CHECK(!again && moved.get("k").str() == "loaded k");
    moved.clear();
    CHECK(!moved.get("k") && c.get("k").str() == "root");
    CHECK(c.expire("k") && !c.expire("none"));
    space models = c.open_generation("models", "v1");
    models.set("k", "old");
    CHECK(models.generation() == 0);
    std::uint64_t number = models.bump_generation();
    CHECK(!models.get("k") && number > 0 && models.generation() == number);
    CHECK(thrown([&] { c.bump_generation(); }) == STRATA_EINVAL);
    CHECK(moved.close() == STRATA_OK && !moved && moved.close() == STRATA_OK);
    strata_stats stats = c.stats();
    CHECK(stats.size == sizeof stats && stats.loads == 2);
    CHECK(c.layer_count() == 1 && std::strcmp(c.layer_stats(0).name, "memory") == 0);
    CHECK(thrown([&] { c.layer_stats(1); }) == STRATA_EINVAL);
    CHECK(c.try_ping(0) == STRATA_OK && c.try_ping(1) == STRATA_EINVAL);
    CHECK(c.layer_health(0).state == STRATA_HEALTH_WELL && thrown([&] { c.layer_health(1); }) == STRATA_EINVAL);
    CHECK(!c.health().coherent && thrown([&] { c.bus_health(0); }) == STRATA_EINVAL);
}

// A stale value is served and the load goes on after the call has returned: a lambda without captures may be a temporary.
static void loads_that_outlive_their_call()
{
    cache c("memory:?max_bytes=1mb");
    strata_cpp::policy p;
    p.stale_while_revalidate_ms = STRATA_FOREVER;
    c.set("k", "old", &p);
    c.expire("k");
    value v = c.get_or_load(
        "k", [](load &, slice) { return std::string("new"); }, &p);
    CHECK(v.str() == "old" && v.stale());
    CHECK(c.close() == STRATA_OK); // waits for the loader where it runs
    CHECK(!c && v.str() == "old");
}

static void count(int status, strata_value *v, const strata_error *, void *ctx)
{
    value owned(v, status);
    *static_cast<int *>(ctx) += owned.str() == "v";
}

static void queues()
{
    cache c("memory:?max_bytes=1mb");
    strata_cpp::queue q;
    int done = 0;
    c.set("k", "v");
    CHECK(strata_get_async(c.raw(), slice("k").raw(), q.raw(), count, &done, nullptr) == STRATA_PENDING);
    CHECK(q.wait() && q.run() == 1 && done == 1 && q.fd() >= 0);
    strata_cpp::queue other = std::move(q);
    CHECK(other.run() == 0 && !other.wait(0));
}

static void snapshots()
{
    char path[] = "/tmp/strata-hpp-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0 && close(fd) == 0);
    cache from("memory:?max_bytes=1mb"), to("memory:?max_bytes=1mb");
    from.set("k", "v");
    CHECK(from.save(path).entries == 1 && to.restore(path).entries == 1 && to.restore(path).kept == 1);
    CHECK(to.get("k").str() == "v");
    CHECK(thrown([&] { to.restore("/no/such/file"); }) == STRATA_EIO);
    CHECK(unlink(path) == 0);
}

static void compare_and_set()
{
    cache c("memory:?max_bytes=1mb");
    strata_entry_version version = { 0, 0 };
    CHECK(!c.set_if_present("k", "0") && c.set_if_absent("k", "1") && !c.set_if_absent("k", "x"));
    CHECK(c.get_version("k", version).str() == "1" && version.number != 0);
    strata_entry_version before = version;
    CHECK(c.set_if("k", "2", version) && !c.set_if("k", "x", before) && c.set_if("k", "3", version));
    CHECK(c.set_if_present("k", "4") && c.get("k").str() == "4");
    strata_entry_version none = { 0, 0 };
    CHECK(thrown([&] { c.set_if("k", "x", none); }) == STRATA_EINVAL);
}

static void warming_up()
{
    cache c("memory:?max_bytes=1mb");
    std::vector<strata_warm_key> keys(2);
    keys[0].key = strata_str("a");
    keys[1].key = strata_str("b");
    strata_warm_report r = c.warm(keys, [](load &, slice key) { return key.str() + "!"; });
    CHECK(r.loaded == 2 && c.get("b").str() == "b!");
    CHECK(thrown([&] {
              keys[0].key = strata_str("c");
              c.warm(keys, [](load &l, slice) { return l.fail(STRATA_EIO, "gone"); });
          }) == STRATA_EIO);
}

static void loaders_for_each()
{
    cache c("memory:?max_bytes=1mb");
    typedef std::function<std::string(load &, slice)> loader;
    std::vector<slice> keys = { "a", "b", "c", "a" };
    std::vector<loader> loaders = { [](load &, slice key) { return key.str() + "1"; },
                                    [](load &, slice) -> std::string { throw std::runtime_error("no b"); },
                                    [](load &, slice key) { return key.str() + "3"; },
                                    [](load &, slice key) { return key.str() + "4"; } };
    std::vector<value> got = c.get_or_load_each(keys, loaders);
    CHECK(got.size() == 4 && got[0].str() == "a1" && got[2].str() == "c3" && got[3].str() == "a1");
    CHECK(!got[1] && got[1].status() == STRATA_ELOADER);
    std::vector<int (*)(load &, slice)> plain(1, plain_function);
    CHECK(c.get_or_load_each(std::vector<slice>(1, "d"), plain)[0].str() == "d");
    CHECK(c.get_or_load_each(std::vector<slice>(), plain).empty());
    CHECK(thrown([&] { c.get_or_load_each(keys, plain); }) == STRATA_EINVAL); // some have none
}

static void ends_of_freshness()
{
    cache c("memory:?max_bytes=1mb");
    auto align = [](std::int64_t now_ms, slice key) -> std::int64_t {
        if (key.str() == "thrown")
            throw 1;
        return now_ms + 5000;
    };
    strata_policy p = STRATA_POLICY_INIT;
    strata_cpp::align_by(p, align);
    c.set("k", "v", &p);
    c.set("thrown", "v", &p);
    std::int64_t left = 0;
    CHECK(strata_ttl(c.raw(), strata_str("k"), &left, nullptr) == STRATA_OK && left > 0 && left <= 5000);
    CHECK(strata_ttl(c.raw(), strata_str("thrown"), &left, nullptr) == STRATA_OK && left > 3000000);
}

static void options_and_layers()
{
    strata_layer *layers[] = { strata_memory_layer(nullptr), strata_memory_layer(nullptr) };
    strata_options options = STRATA_OPTIONS_INIT;
    options.layers = layers;
    options.layer_count = 2;
    cache c(options);
    CHECK(c.layer_count() == 2 && c.layer_index("memory") == 0);
    CHECK(thrown([&] { c.layer_index("redis"); }) == STRATA_EINVAL);
    cache empty;
    CHECK(!empty);
    empty = std::move(c);
    CHECK(empty.layer_count() == 2 && !c);
}

int main()
{
    values();
    loaders();
    exceptions_of_loaders();
    statuses_without_exceptions();
    spaces();
    loads_that_outlive_their_call();
    queues();
    snapshots();
    compare_and_set();
    warming_up();
    loaders_for_each();
    ends_of_freshness();
    options_and_layers();
    return failures;
}

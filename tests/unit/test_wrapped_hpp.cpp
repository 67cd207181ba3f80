// test_wrapped_hpp.cpp - wrapped<T, Parts...>: parts come to the loader as they went into the key; values as they were.
#include "strata/strata.hpp"

#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

using strata_cpp::cache;
using strata_cpp::load;
using strata_cpp::slice;
using strata_cpp::wrapped;

static int failures;

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            failures++; \
        } \
    } while (0)

struct user {
    std::string name;
    int age;
};

static int decodes;

namespace strata_cpp
{
template <> struct codec<user> {
    static std::string encode(const user &u) { return std::to_string(u.age) + " " + u.name; }
    static user decode(slice bytes)
    {
        const std::string text = bytes.str();
        std::size_t at = text.find(' ');
        decodes++;
        if (at == std::string::npos)
            throw std::invalid_argument("no user");
        user u;
        u.name = text.substr(at + 1);
        u.age = std::stoi(text);
        return u;
    }
};
} // namespace strata_cpp

static void values_and_keys_have_types(cache &c)
{
    int loads = 0;
    wrapped<user, std::string, int> users(c, "users", [&loads](load &, const std::string &team, int id) {
        loads++;
        if (id == 0)
            throw strata_cpp::absent();
        if (id < 0)
            throw std::runtime_error("the database is down");
        user u;
        u.name = team + "'s";
        u.age = id;
        return u;
    });
    for (int i = 0; i < 3; i++) {
        user u = users.get("red", 42);
        CHECK(u.name == "red's" && u.age == 42);
    }
    CHECK(loads == 1);
    user u;
    u.age = 7;
    CHECK(!users.find(u, "red", 0) && u.age == 7);
    try {
        users.get("red", 0);
        CHECK(false);
    } catch (const std::out_of_range &) {
    }
    try {
        users.get("red", -1);
        CHECK(false);
    } catch (const strata_cpp::error &e) {
        CHECK(e.status() == STRATA_ELOADER && std::string(e.what()) == "the database is down");
    }
    u.name = "set";
    users.set("red", 42, u);
    CHECK(users.get("red", 42).name == "set");
    users.erase("red", 42);
    CHECK(users.get("red", 42).name == "red's");
    CHECK(users.expire("red", 42) && !users.expire("red", 4711));

    // All of the reds, and no others.
    users.get("reds", 1);
    strata_key key;
    strata_key_begin(&key);
    strata_key_text(&key, strata_str("red"));
    users.in().ban_prefix(strata_key_slice(&key));
    int before = loads;
    users.get("reds", 1);
    CHECK(loads == before);
    users.get("red", 42);
    CHECK(loads == before + 1);
}

// Another program's bytes are loaded anew, once; and a key that is none of ours is a failed load, in words.
static void what_is_stored_is_not_believed(cache &c)
{
    wrapped<user, int> users(c, "strangers", [](load &, int id) {
        user u;
        u.name = "new";
        u.age = id;
        return u;
    });
    strata_key key;
    strata_key_begin(&key);
    strata_key_int(&key, 1);
    users.in().set(strata_key_slice(&key), "strange");
    CHECK(users.get(1).name == "new");
    try {
        users.in().get_or_load("1");
        CHECK(false);
    } catch (const strata_cpp::error &e) {
        CHECK(std::string(e.what()).find("other parts") != std::string::npos);
    }
    strata_key_begin(&key);
    strata_key_int(&key, INT64_MAX); // no int
    try {
        users.in().get_or_load(strata_key_slice(&key));
        CHECK(false);
    } catch (const strata_cpp::error &e) {
        CHECK(e.status() == STRATA_ELOADER);
    }
}

static void every_type_of_part(cache &c)
{
    typedef std::vector<std::string> words;
    wrapped<std::string, bool, unsigned char, std::int64_t, std::uint64_t, double, words> all(
        c, "all", [](load &, bool b, unsigned char n, std::int64_t i, std::uint64_t u, double d, const words &w) {
            return std::to_string(b) + std::to_string(n) + std::to_string(i) + std::to_string(u) +
                   std::to_string(int(d * 2)) + (w.empty() ? "" : w[0] + w[1]);
        });
    words two;
    two.push_back("a");
    two.push_back("bc");
    CHECK(all.get(true, 255, INT64_MIN, UINT64_MAX, 1.5, two) == "1255-9223372036854775808184467440737095516153abc");
    CHECK(all.get(false, 0, 0, 0, 0.0, words()) == "00000");
    wrapped<double> one(c, "one", [](load &) { return 2.5; }); // no part: then there is no key
    try {
        one.get();
        CHECK(false);
    } catch (const strata_cpp::error &e) {
        CHECK(e.status() == STRATA_EKEYSIZE);
    }
    wrapped<double, int> squares(c, "squares", [](load &, int n) { return 1.0 * n * n; });
    CHECK(squares.get(3) == 9.0);
}

int main()
{
    cache c("memory:?max_bytes=1mb");
    values_and_keys_have_types(c);
    what_is_stored_is_not_believed(c);
    every_type_of_part(c);
    CHECK(decodes > 0);
    return failures != 0;
}

// example_cpp.cpp - strata from C++: loaders are callables, failures are exceptions, values give themselves back.
#include <iostream>
#include <stdexcept>
#include <strata/strata.hpp>

int main()
try {
    strata_cpp::cache cache("memory:?max_bytes=16mb&policy=w-tinylfu");

    // A loader returns the bytes...
    int queries = 0;
    auto load_user = [&queries](strata_cpp::load &, strata_cpp::slice key) {
        ++queries;
        return "the profile of " + key.str();
    };
    for (int i = 0; i < 3; i++)
        std::cout << cache.get_or_load("user:42", load_user).str() << "\n";
    std::cout << "queries: " << queries << "\n"; // 1

    // ...or says that there is nothing, which is remembered where the policy says so...
    strata_cpp::policy policy;
    policy.ttl_ms = 60000;
    policy.negative_ttl_ms = 5000;
    strata_cpp::space users = cache.open_space(
        "users",
        [](strata_cpp::load &load, strata_cpp::slice key) {
            return key.str() == "ada" ? load.copy("Ada") : load.absent();
        },
        &policy);
    std::cout << users.get_or_load("ada").str() << "; bob is "
              << (users.get_or_load("bob").absent() ? "absent" : "there") << "\n";

    // ...or throws: the callers get its words.
    try {
        users.get_or_load("eve", [](strata_cpp::load &, strata_cpp::slice) -> std::string {
            throw std::runtime_error("the database is down");
        });
    } catch (const strata_cpp::error &e) {
        std::cout << strata_status_name(e.status()) << ": " << e.what() << "\n";
    }

    // Values and keys with types: the loader is named once, and gets the parts of the key.
    strata_cpp::wrapped<double, std::string, int> prices(cache, "prices",
                                                         [](strata_cpp::load &, const std::string &what, int count) {
                                                             return 0.5 * static_cast<double>(what.size()) * count;
                                                         });
    std::cout << "three teas: " << prices.get("tea", 3) << "\n"; // 4.5

    // Without exceptions: a status, and a value that may be empty.
    strata_cpp::value v;
    if (users.try_get("nobody", v) == STRATA_MISS)
        std::cout << "no nobody\n";

    users.clear();
    strata_stats stats = cache.stats();
    std::cout << stats.requests << " requests, " << stats.hits << " hits, " << stats.loads << " loads\n";
    return 0;
} catch (const strata_cpp::error &e) {
    std::cerr << e.where() << ": " << e.what() << "\n";
    return 1;
}

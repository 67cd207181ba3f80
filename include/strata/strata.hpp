// strata/strata.hpp - strata for C++11 and later: owning types and exceptions over the C API, header only.
// Part of the stable API.
//
//   strata_cpp::cache cache("memory:?max_bytes=64mb");
//   strata_cpp::value user = cache.get_or_load("user:42", [](strata_cpp::load &, strata_cpp::slice key) {
//       return query(key.str()); // a std::string: the value
//   });
//
// A loader with several answers returns statuses, the value's, too, for a lambda has one type to return:
//
//   [](strata_cpp::load &load, strata_cpp::slice key) {
//       std::string name;
//       return find(key.str(), name) ? load.copy(name) : load.absent();
//   }
//
// Calls without a prefix throw strata_cpp::error where the C call fails; calls that begin with try_ return the C status
// and throw nothing.  A loader's exception fails the load for everybody who waits for it, with its what() as the
// message; none ever crosses the C boundary.
//
// The namespace is not called strata, because that is the C API's main type.
#ifndef STRATA_STRATA_HPP
#define STRATA_STRATA_HPP
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "strata/load.hpp"
#include "strata/value.hpp"

namespace strata_cpp {

/// Lets `align(int64 now_ms, slice key)` say when what is stored by policy `p` ends to be fresh, Unix time in milliseconds: see
/// strata_align.  0, or an exception: no answer, ttl_ms counts.  `align` is borrowed, and outlives the cache.
template <class F> void align_by(strata_policy &p, F &align) noexcept
{
    p.align_ctx = const_cast<void *>(static_cast<const void *>(std::addressof(align)));
    p.align = [](std::int64_t now_ms, strata_slice key, void *ctx) noexcept -> std::int64_t {
        try {
            return (*static_cast<F *>(ctx))(now_ms, slice(key));
        } catch (...) {
            return 0;
        }
    };
}

/// A namespace of a cache: keys, policy, loader and counters of its own.  Threads: every call is safe from any thread.
class space {
public:
    space() noexcept : raw_(nullptr) {}
    space(space &&other) noexcept : raw_(other.raw_), loaders_(std::move(other.loaders_)) { other.raw_ = nullptr; }
    space &operator=(space &&other) noexcept
    {
        if (this != &other) {
            strata_close(raw_);
            raw_ = other.raw_;
            loaders_ = std::move(other.loaders_);
            other.raw_ = nullptr;
        }
        return *this;
    }
    space(const space &) = delete;
    space &operator=(const space &) = delete;
    /// A namespace gives its reference back; a cache closes, which waits for loaders that run.
    ~space() { strata_close(raw_); }

    explicit operator bool() const noexcept { return raw_ != nullptr; }
    /// For the calls of the C API that have no form here.  Borrowed.
    ::strata *raw() const noexcept { return raw_; }
    /// Close now.  STRATA_PENDING: closed, and deletes that a server is yet to be told of are lost.  STRATA_AGAIN in a callback or
    /// loader of this cache: it is marked closing, close again from outside.
    int close() noexcept
    {
        int status = strata_close(raw_);
        if (status != STRATA_AGAIN)
            raw_ = nullptr;
        return status;
    }

    /// The same, and waits no longer than that for loaders and callbacks that run.  STRATA_ETIMEDOUT: some still do, close again.
    int close_within(std::int64_t timeout_ms) noexcept
    {
        int status = strata_close_within(raw_, timeout_ms);
        if (status != STRATA_AGAIN && status != STRATA_ETIMEDOUT && status != STRATA_EINVAL)
            raw_ = nullptr;
        return status;
    }

    /// A namespace below this one.  The same name gives the same namespace: the first call's policy and loader hold.
    space open_space(const char *name, const strata_policy *p = nullptr) const
    {
        strata_namespace_options options = STRATA_NAMESPACE_OPTIONS_INIT;
        options.policy = p;
        return open_space_with(name, p != nullptr ? &options : nullptr);
    }
    /// The same with a generation (strata_namespace_options): bump_generation() invalidates what carries its name.
    space open_generation(const char *name, const char *generation, const strata_policy *p = nullptr) const
    {
        strata_namespace_options options = STRATA_NAMESPACE_OPTIONS_INIT;
        options.policy = p;
        options.generation = generation;
        return open_space_with(name, &options);
    }
    /// The same with a guaranteed share of the memory layer, in percent of its budget (strata_namespace_options).
    space open_share(const char *name, int memory_share_percent, const strata_policy *p = nullptr) const
    {
        strata_namespace_options options = STRATA_NAMESPACE_OPTIONS_INIT;
        options.policy = p;
        options.memory_share_percent = memory_share_percent;
        return open_space_with(name, &options);
    }
    /// The same with a loader, which is kept until the cache has closed, for calls of get_or_load() that give none.
    template <class F> space open_space(const char *name, F loader, const strata_policy *p = nullptr) const
    {
        strata_namespace_options options = STRATA_NAMESPACE_OPTIONS_INIT;
        options.policy = p;
        options.loader = &detail::passed<F>::run;
        options.loader_ctx = detail::passed<F>::ctx(*loaders_->keep(std::move(loader)));
        return open_space_with(name, &options);
    }

    /// The value of `key`; none (false) on a miss or where "absent" is remembered, see value::status().
    value get(slice key) const
    {
        value out;
        strata_error err = STRATA_ERROR_INIT;
        detail::check(try_get(key, out, &err), err);
        return out;
    }
    int try_get(slice key, value &out, strata_error *err = nullptr) const noexcept
    {
        strata_value *v = nullptr;
        int status = strata_get(raw_, key.raw(), &v, err);
        out = value(v, status);
        return status;
    }

    /// The value of `key` from a layer, or else from `loader`: any callable (load &, slice key) that returns the bytes or a
    /// status.  It is borrowed for the call.  Where the policy lets a load go on after its call has returned (stale
    /// windows, refresh ahead, timeouts), it must not have captures, or live as long as the cache.
    template <class F> value get_or_load(slice key, F &&loader, const strata_policy *p = nullptr) const
    {
        value out;
        strata_error err = STRATA_ERROR_INIT;
        detail::check(try_get_or_load(key, std::forward<F>(loader), out, p, &err), err);
        return out;
    }
    template <class F>
    int try_get_or_load(slice key, F &&loader, value &out, const strata_policy *p = nullptr,
                        strata_error *err = nullptr) const noexcept
    {
        typedef detail::passed<typename std::remove_reference<F>::type> passed;
        return load_with(key, &passed::run, passed::ctx(loader), out, p, err);
    }
    /// The same with the namespace's own loader.
    value get_or_load(slice key) const
    {
        value out;
        strata_error err = STRATA_ERROR_INIT;
        detail::check(try_get_or_load(key, out, nullptr, &err), err);
        return out;
    }
    int try_get_or_load(slice key, value &out, const strata_policy *p = nullptr, strata_error *err = nullptr) const noexcept
    {
        return load_with(key, nullptr, nullptr, out, p, err);
    }

    /// get_or_load() of many keys, keys[i] with loaders[i], as strata_get_or_load_each() has it.  Any callables of one type; where they
    /// differ, F is a std::function<std::string(load &, slice)>.  No key's failure is thrown: it is the status() of its value.
    template <class F>
    std::vector<value> get_or_load_each(const std::vector<slice> &keys, std::vector<F> &loaders,
                                        const strata_policy *p = nullptr) const
    {
        std::vector<strata_item> items(keys.size());
        std::vector<strata_item_loader> each(keys.size());
        std::vector<value> out(keys.size());
        strata_error err = STRATA_ERROR_INIT;
        for (std::size_t i = 0; i < keys.size(); i++) {
            items[i].key = keys[i].raw();
            items[i].status = STRATA_PENDING; // it stays so where the call itself fails
            each[i].loader = i < loaders.size() ? &detail::passed<F>::run : nullptr;
            each[i].ctx = i < loaders.size() ? detail::passed<F>::ctx(loaders[i]) : nullptr;
        }
        int status = strata_get_or_load_each(raw_, items.data(), each.data(), items.size(), p, &err);
        if (!items.empty() && items[0].status == STRATA_PENDING)
            detail::check(status, err);
        for (std::size_t i = 0; i < keys.size(); i++)
            out[i] = value(items[i].value, items[i].status);
        return out;
    }

    /// Store a copy of `bytes` in every layer.
    void set(slice key, slice bytes, const strata_policy *p = nullptr) const
    {
        strata_error err = STRATA_ERROR_INIT;
        detail::check(try_set(key, bytes, p, &err), err);
    }
    int try_set(slice key, slice bytes, const strata_policy *p = nullptr, strata_error *err = nullptr) const noexcept
    {
        return strata_set(raw_, key.raw(), bytes.raw(), p, err);
    }

    /// The same with tags, `count` of them.
    void set_tagged(slice key, slice bytes, const strata_slice *tags, std::size_t count,
                    const strata_policy *p = nullptr) const
    {
        strata_error err = STRATA_ERROR_INIT;
        detail::check(strata_set_tagged(raw_, key.raw(), bytes.raw(), tags, count, p, &err), err);
    }

    /// What strata_get() would give, with its version for set_if(); an empty value where there is none.
    value get_version(slice key, strata_entry_version &version) const
    {
        strata_error err = STRATA_ERROR_INIT;
        strata_value *found = nullptr;
        int status = detail::check(strata_get_version(raw_, key.raw(), &found, &version, &err), err);
        return value(found, status);
    }
    /// Compare and set: only over the value of that version.  False: something else is there, and nothing was written.  Else `version`
    /// is that of what was stored.
    bool set_if(slice key, slice bytes, strata_entry_version &version, const strata_policy *p = nullptr) const
    {
        return set_only(STRATA_IF_VERSION, key, bytes, version, p);
    }
    /// Only where there is no value; only where there is one.
    /// False: it was otherwise, and nothing was written.  No lock: a cached value may go at any time (strata_set_if()).
    bool set_if_absent(slice key, slice bytes, const strata_policy *p = nullptr) const
    {
        strata_entry_version version = { 0, 0 };
        return set_only(STRATA_IF_ABSENT, key, bytes, version, p);
    }
    bool set_if_present(slice key, slice bytes, const strata_policy *p = nullptr) const
    {
        strata_entry_version version = { 0, 0 };
        return set_only(STRATA_IF_PRESENT, key, bytes, version, p);
    }

    /// Load many keys before anybody asks for them (strata/warm.h).
    strata_warm_report warm(const strata_warm_options &options) const
    {
        strata_error err = STRATA_ERROR_INIT;
        strata_warm_report report = STRATA_WARM_REPORT_INIT;
        detail::check(strata_warm(raw_, &options, &report, &err), err);
        return report;
    }
    /// The same for a list, with a loader as in get_or_load(), which is needed until the end of refreshes of what was stale.
    template <class F> strata_warm_report warm(const std::vector<strata_warm_key> &keys, F &&loader) const
    {
        typedef typename std::remove_reference<F>::type callable;
        strata_warm_options options = STRATA_WARM_OPTIONS_INIT;
        options.keys = keys.data();
        options.count = keys.size();
        options.loader = &detail::passed<callable>::run;
        options.loader_ctx = detail::passed<callable>::ctx(loader);
        return warm(options);
    }

    /// Store a decoded object, with `count` tags; the cache needs a codec, which frees it, also where this throws.
    void set_object(slice key, void *object, const strata_slice *tags = nullptr, std::size_t count = 0,
                    const strata_policy *p = nullptr) const
    {
        strata_error err = STRATA_ERROR_INIT;
        detail::check(strata_set_object_tagged(raw_, key.raw(), object, tags, count, p, &err), err);
    }

    /// Take the key out of every layer; a value loaded before is never stored after.  (strata_delete: "delete" is taken.)
    void erase(slice key) const
    {
        strata_error err = STRATA_ERROR_INIT;
        detail::check(try_erase(key, &err), err);
    }
    int try_erase(slice key, strata_error *err = nullptr) const noexcept { return strata_delete(raw_, key.raw(), err); }

    /// End the key's freshness now.  False where it was not there.
    bool expire(slice key) const
    {
        strata_error err = STRATA_ERROR_INIT;
        return detail::check(try_expire(key, &err), err) != STRATA_MISS;
    }
    int try_expire(slice key, strata_error *err = nullptr) const noexcept { return strata_expire(raw_, key.raw(), err); }

    /// Write what the layers hold, of this namespace and those below, to a file.
    strata_snapshot_report save(const char *path, const strata_snapshot_options *options = nullptr) const
    {
        strata_error err = STRATA_ERROR_INIT;
        strata_snapshot_report report = STRATA_SNAPSHOT_REPORT_INIT;
        detail::check(strata_snapshot_save(raw_, path, options, &report, &err), err);
        return report;
    }
    /// And put it back, over nothing that is there and as good.
    strata_snapshot_report restore(const char *path, const strata_snapshot_options *options = nullptr) const
    {
        strata_error err = STRATA_ERROR_INIT;
        strata_snapshot_report report = STRATA_SNAPSHOT_REPORT_INIT;
        detail::check(strata_snapshot_load(raw_, path, options, &report, &err), err);
        return report;
    }

    /// Forget everything here and in the namespaces below.
    void clear() const
    {
        strata_error err = STRATA_ERROR_INIT;
        detail::check(try_clear(&err), err);
    }
    int try_clear(strata_error *err = nullptr) const noexcept { return strata_clear(raw_, err); }

    /// Begin the next generation of what carries the name in the `generation` option here; its number.
    std::uint64_t bump_generation(std::uint32_t how = STRATA_BAN_HARD) const
    {
        strata_error err = STRATA_ERROR_INIT;
        std::uint64_t number = 0;
        detail::check(strata_generation_bump(raw_, how, &number, &err), err);
        return number;
    }
    /// The number of the current one, as this node knows it; 0: never bumped.
    std::uint64_t generation() const
    {
        strata_error err = STRATA_ERROR_INIT;
        std::uint64_t number = 0;
        detail::check(strata_generation_get(raw_, &number, &err), err);
        return number;
    }

    /// Invalidate what has a tag, or keys by prefix or pattern; `how` is made of STRATA_BAN_ flags.
    void ban_tag(const char *tag, std::uint32_t how = STRATA_BAN_HARD) const
    {
        strata_error err = STRATA_ERROR_INIT;
        detail::check(strata_ban_tag(raw_, tag, how, &err), err);
    }
    void ban_tags(const strata_slice *tags, std::size_t count, std::uint32_t how = STRATA_BAN_HARD) const
    {
        strata_error err = STRATA_ERROR_INIT;
        detail::check(strata_ban_tags(raw_, tags, count, how, &err), err);
    }
    void ban_prefix(slice prefix, std::uint32_t how = STRATA_BAN_HARD) const
    {
        strata_error err = STRATA_ERROR_INIT;
        detail::check(strata_ban_prefix(raw_, prefix.raw(), how, &err), err);
    }
    void ban_pattern(slice pattern, std::uint32_t how = STRATA_BAN_HARD) const
    {
        strata_error err = STRATA_ERROR_INIT;
        detail::check(strata_ban_pattern(raw_, pattern.raw(), how, &err), err);
    }

    /// Is a servable value held?
    bool has(slice key) const
    {
        strata_error err = STRATA_ERROR_INIT;
        return detail::check(strata_has(raw_, key.raw(), &err), err) == 1;
    }

    /// The counters.
    strata_stats stats() const
    {
        strata_stats out = strata_stats();
        strata_error err = STRATA_ERROR_INIT;
        out.size = sizeof out;
        detail::check(strata_stats_get(raw_, &out), err);
        return out;
    }
    /// One layer's counters; layer 0 is the nearest.
    strata_layer_stats layer_stats(std::size_t layer) const
    {
        strata_layer_stats out = strata_layer_stats();
        strata_error err = STRATA_ERROR_INIT;
        out.size = sizeof out;
        detail::check(strata_stats_layer(raw_, layer, &out), err);
        return out;
    }
    /// How it is with the nodes that share its data.
    strata_health health() const
    {
        strata_health out = strata_health();
        strata_error err = STRATA_ERROR_INIT;
        out.size = sizeof out;
        detail::check(strata_health_get(raw_, &out, &err), err);
        return out;
    }
    /// One layer, and why; layer 0 is the nearest.
    strata_part_health layer_health(std::size_t layer) const
    {
        strata_part_health out = strata_part_health();
        strata_error err = STRATA_ERROR_INIT;
        out.size = sizeof out;
        detail::check(strata_health_layer(raw_, layer, &out, &err), err);
        return out;
    }
    /// One bus, and why.
    strata_part_health bus_health(std::size_t bus) const
    {
        strata_part_health out = strata_part_health();
        strata_error err = STRATA_ERROR_INIT;
        out.size = sizeof out;
        detail::check(strata_health_bus(raw_, bus, &out, &err), err);
        return out;
    }
    /// Is that layer there and well?  STRATA_OK, or what is wrong with it.
    int try_ping(std::size_t layer, strata_error *err = nullptr) const noexcept { return strata_ping(raw_, layer, err); }

protected:
    space(::strata *raw, std::shared_ptr<detail::kept_loaders> loaders) noexcept : raw_(raw), loaders_(std::move(loaders)) {}

    ::strata *raw_;
    std::shared_ptr<detail::kept_loaders> loaders_; // given back after raw_ is closed

private:
    bool set_only(int only, slice key, slice bytes, strata_entry_version &version, const strata_policy *p) const
    {
        strata_error err = STRATA_ERROR_INIT;
        strata_condition condition = STRATA_CONDITION_INIT;
        condition.only = only;
        condition.version = version;
        int status = strata_set_if(raw_, key.raw(), bytes.raw(), &condition, p, &version, &err);
        return status != STRATA_ECONFLICT && detail::check(status, err) >= STRATA_OK;
    }
    space open_space_with(const char *name, const strata_namespace_options *options) const
    {
        strata_error err = STRATA_ERROR_INIT;
        ::strata *out = nullptr;
        detail::check(strata_namespace(raw_, name, options, &out, &err), err);
        return space(out, loaders_);
    }
    int load_with(slice key, strata_loader loader, void *ctx, value &out, const strata_policy *p, strata_error *err) const
        noexcept
    {
        strata_value *v = nullptr;
        int status = strata_get_or_load(raw_, key.raw(), loader, ctx, p, &v, err);
        out = value(v, status);
        return status;
    }
};

/// Where an event-loop program collects finished asynchronous calls of the C API.  One thread runs it.
class queue {
public:
    queue() : raw_(nullptr)
    {
        strata_error err = STRATA_ERROR_INIT;
        detail::check(strata_queue_open(&raw_, &err), err);
    }
    queue(queue &&other) noexcept : raw_(other.raw_) { other.raw_ = nullptr; }
    queue &operator=(queue &&other) noexcept
    {
        std::swap(raw_, other.raw_);
        return *this;
    }
    queue(const queue &) = delete;
    queue &operator=(const queue &) = delete;
    ~queue() { strata_queue_close(raw_); }

    /// Readable while completions wait.
    int fd() const noexcept { return strata_queue_fd(raw_); }
    /// Run those that wait now, at most `max` (0: all); how many ran.  A callback may not throw.
    std::size_t run(std::size_t max = 0) noexcept { return strata_queue_run(raw_, max); }
    /// Wait for one.  False: the time is over.
    bool wait(std::int64_t timeout_ms = -1) noexcept { return strata_queue_wait(raw_, timeout_ms) == STRATA_OK; }
    strata_queue *raw() const noexcept { return raw_; }

private:
    strata_queue *raw_;
};

/// A cache: an ordered stack of layers, and its root namespace.  Closed by its destructor.
class cache : public space {
public:
    cache() noexcept {}
    /// Open the stack that `url` names, "memory:?max_bytes=64mb | ...".
    explicit cache(const char *url, const strata_options *options = nullptr)
        : space(nullptr, std::make_shared<detail::kept_loaders>())
    {
        strata_error err = STRATA_ERROR_INIT;
        detail::check(strata_open_url(&raw_, url, options, &err), err);
    }
    explicit cache(const std::string &url, const strata_options *options = nullptr) : cache(url.c_str(), options) {}
    /// Open by options, whose layers are taken over, also on failure.
    explicit cache(const strata_options &options) : space(nullptr, std::make_shared<detail::kept_loaders>())
    {
        strata_error err = STRATA_ERROR_INIT;
        detail::check(strata_open(&raw_, &options, &err), err);
    }

    std::size_t layer_count() const noexcept { return strata_layer_count(raw_); }
    /// The number of the layer of this name; throws where there is none.
    std::size_t layer_index(const std::string &name) const
    {
        std::size_t at = 0;
        strata_error err = { STRATA_EINVAL, 0, "layer", "no layer has this name" };
        detail::check(strata_layer_index(raw_, name.c_str(), &at) == STRATA_OK ? STRATA_OK : STRATA_EINVAL, err);
        return at;
    }
};

} // namespace strata_cpp

#include "strata/wrapped.hpp" // wrapped<T, Parts...>: values and keys that have types

#endif // STRATA_STRATA_HPP

// strata/load.hpp - what strata.hpp makes of a loader: a load in progress, and how a callable becomes a C loader.
// Part of the stable API; include strata/strata.hpp.
#ifndef STRATA_LOAD_HPP
#define STRATA_LOAD_HPP
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "strata/value.hpp"

namespace strata_cpp {

/// A load in progress, as a loader sees it.  Return the value (a std::string, or anything with data() and size()), or call
/// one of these and return what it returns: an int is always a status, never a value.
class load {
public:
    explicit load(strata_load *raw) noexcept : raw_(raw) {}
    int copy(slice bytes) noexcept { return strata_load_copy(raw_, bytes.data(), bytes.size()); }
    /// The origin has no such thing.
    int absent() noexcept { return strata_load_absent(raw_); }
    /// What previous() shows is still right.
    int not_modified() noexcept { return strata_load_not_modified(raw_); }
    /// For the callers, and not to be stored.
    int decline(slice bytes) noexcept { return strata_load_decline(raw_, bytes.data(), bytes.size()); }
    int fail(int status, const char *message) noexcept { return strata_load_fail(raw_, status, message); }
    /// Nobody wants the result any more.
    bool canceled() const noexcept { return strata_load_canceled(raw_) != 0; }
    /// The value held so far; empty where there is none.
    slice previous() const noexcept
    {
        const strata_value *v = strata_load_previous(raw_);
        return slice(strata_value_data(v), strata_value_size(v));
    }
    /// What the origin called the previous value, to ask whether it is still right; empty where that is unknown.
    slice validator() const noexcept { strata_slice s; return strata_load_validator(raw_, &s, nullptr), slice(s); }
    slice last_modified() const noexcept { strata_slice s; return strata_load_validator(raw_, nullptr, &s), slice(s); }
    /// What it calls the one that is loaded.
    int set_validator(slice v, slice modified = "") noexcept { return strata_load_set_validator(raw_, v.raw(), modified.raw()); }
    int set_policy(const strata_policy &p) noexcept { return strata_load_set_policy(raw_, &p); }
    /// So that strata_ban_tag() finds it.
    int tag(const char *name) noexcept { return strata_load_tag(raw_, name); }
    /// For completing later, from any thread, with the C functions: see strata_load_ref().
    strata_load *raw() const noexcept { return raw_; }

private:
    strata_load *raw_;
};

namespace detail {

/// A loader that returned a status has said it all; one that returned bytes (a text, or anything with data() and size())
/// wants them copied.
template <class R> typename std::enable_if<std::is_convertible<R, int>::value, int>::type finish(load &, const R &status)
{
    return static_cast<int>(status);
}
template <class R>
typename std::enable_if<!std::is_convertible<R, int>::value && std::is_convertible<R, slice>::value, int>::type
finish(load &l, const R &bytes)
{
    return l.copy(slice(bytes));
}
template <class R>
typename std::enable_if<!std::is_convertible<R, int>::value && !std::is_convertible<R, slice>::value, int>::type
finish(load &l, const R &bytes)
{
    return l.copy(slice(bytes.data(), bytes.size()));
}

/// Calls `loader`, and lets nothing be thrown past it.
template <class F> int call_loader(F &loader, strata_load *raw, strata_slice key) noexcept
{
    load l(raw);
    try {
        return finish(l, loader(l, slice(key)));
    } catch (const error &e) {
        return l.fail(e.status(), e.what());
    } catch (const std::bad_alloc &) {
        return l.fail(STRATA_ENOMEM, "the loader is out of memory");
    } catch (const std::exception &e) {
        return l.fail(STRATA_ELOADER, e.what());
    } catch (...) {
        return l.fail(STRATA_ELOADER, "the loader threw something that is no std::exception");
    }
}

/// How a callable travels as a C loader's ctx.  Usually by its address...
template <class F, class = void> struct passed {
    static void *ctx(F &loader) noexcept { return const_cast<void *>(static_cast<const void *>(std::addressof(loader))); }
    static int run(strata_load *raw, strata_slice key, void *ctx) noexcept
    {
        return call_loader(*static_cast<F *>(ctx), raw, key);
    }
};

/// ...a lambda without captures as a copy that lives for ever, so that a load may go on after the call has returned...
template <class F>
struct passed<F, typename std::enable_if<std::is_empty<F>::value && std::is_nothrow_copy_constructible<F>::value>::type> {
    static void *ctx(F &loader) noexcept
    {
        typedef typename std::remove_const<F>::type plain;
        static plain kept(loader);
        return &kept;
    }
    static int run(strata_load *raw, strata_slice key, void *ctx) noexcept
    {
        return call_loader(*static_cast<F *>(ctx), raw, key);
    }
};

/// ...and a plain function as itself.
template <class F> struct passed<F, typename std::enable_if<std::is_function<F>::value>::type> {
    static void *ctx(F &loader) noexcept { return reinterpret_cast<void *>(&loader); }
    static int run(strata_load *raw, strata_slice key, void *ctx) noexcept
    {
        return call_loader(*reinterpret_cast<F *>(ctx), raw, key);
    }
};

/// Loaders that namespaces own.  They live until the cache has closed, because a namespace that was given back and is opened
/// again still has its loader.
class kept_loaders {
public:
    template <class F> F *keep(F loader)
    {
        std::shared_ptr<F> kept = std::make_shared<F>(std::move(loader));
        std::lock_guard<std::mutex> lock(mutex_);
        kept_.push_back(kept);
        return kept.get();
    }

private:
    std::mutex mutex_;
    std::vector<std::shared_ptr<void>> kept_;
};

} // namespace detail

} // namespace strata_cpp

#endif // STRATA_LOAD_HPP

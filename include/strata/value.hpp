// strata/value.hpp - what strata.hpp takes and gives: bytes on their way in, values on their way out, errors, policies.
// Part of the stable API; include strata/strata.hpp.
#ifndef STRATA_VALUE_HPP
#define STRATA_VALUE_HPP
#include <cstddef>
#include <exception>
#include <string>

#include "strata/strata.h"

#if __cplusplus >= 201703L
#include <string_view>
#endif

namespace strata_cpp {

/// Bytes that somebody else owns: keys and values on their way in.  Made from texts, strings and byte ranges.
class slice {
public:
    slice(const void *data, std::size_t size) noexcept : raw_(strata_bytes(data, size)) {}
    slice(const char *text) noexcept : raw_(strata_str(text)) {}
    slice(const std::string &text) noexcept : raw_(strata_bytes(text.data(), text.size())) {}
    slice(strata_slice raw) noexcept : raw_(raw) {}
#if __cplusplus >= 201703L
    slice(std::string_view text) noexcept : raw_(strata_bytes(text.data(), text.size())) {}
    /// The bytes as a view.
    std::string_view view() const noexcept { return std::string_view(data(), size()); }
#endif
    const char *data() const noexcept { return static_cast<const char *>(raw_.data); }
    std::size_t size() const noexcept { return raw_.size; }
    /// A copy of the bytes.
    std::string str() const { return size() != 0 ? std::string(data(), size()) : std::string(); }
    strata_slice raw() const noexcept { return raw_; }

private:
    strata_slice raw_;
};

/// What a call failed with: a status below 0, where, and words that say what to do.
class error : public std::exception {
public:
    explicit error(const strata_error &raw) noexcept : raw_(raw) {}
    /// STRATA_EINVAL, STRATA_ELOADER...
    int status() const noexcept { return raw_.status; }
    int os_errno() const noexcept { return raw_.os_errno; }
    const char *where() const noexcept { return raw_.where; }
    const char *what() const noexcept override { return raw_.message[0] != '\0' ? raw_.message : strata_status_text(status()); }
    const strata_error &raw() const noexcept { return raw_; }

private:
    strata_error raw_;
};

namespace detail {

/// Throw where `status` is an error.
inline int check(int status, strata_error &err)
{
    if (status < 0) {
        if (err.status != status) {
            err = strata_error();
            err.status = status;
        }
        throw error(err);
    }
    return status;
}

} // namespace detail

/// A pin on immutable bytes, given back when it goes out of scope.  Moves, but does not copy: see share().
class value {
public:
    value() noexcept : raw_(nullptr), status_(STRATA_MISS) {}
    /// Takes one reference over.
    explicit value(strata_value *raw, int status = STRATA_OK) noexcept : raw_(raw), status_(status) {}
    value(value &&other) noexcept : raw_(other.raw_), status_(other.status_) { other.forget(); }
    value &operator=(value &&other) noexcept
    {
        if (this != &other) {
            strata_value_unref(raw_);
            raw_ = other.raw_;
            status_ = other.status_;
            other.forget();
        }
        return *this;
    }
    value(const value &) = delete;
    value &operator=(const value &) = delete;
    ~value() { strata_value_unref(raw_); }

    /// Is there one?  Not for a miss, nor for "absent".
    explicit operator bool() const noexcept { return raw_ != nullptr; }
    const char *data() const noexcept { return static_cast<const char *>(strata_value_data(raw_)); }
    std::size_t size() const noexcept { return strata_value_size(raw_); }
    const char *begin() const noexcept { return data(); }
    const char *end() const noexcept { return data() + size(); }
    /// A copy of the bytes.
    std::string str() const { return size() != 0 ? std::string(data(), size()) : std::string(); }
#if __cplusplus >= 201703L
    /// The bytes themselves, valid as long as this pin.
    std::string_view view() const noexcept { return std::string_view(data(), size()); }
#endif
    /// The decoded object, where the cache has a codec.
    template <class T> T *object() const noexcept { return static_cast<T *>(strata_value_object(raw_)); }
    /// STRATA_OK, STRATA_STALE (past its freshness), STRATA_MISS or STRATA_ABSENT.
    int status() const noexcept { return status_; }
    bool stale() const noexcept { return status_ == STRATA_STALE; }
    bool absent() const noexcept { return status_ == STRATA_ABSENT; }
    /// One more pin on the same bytes.
    value share() const noexcept { return value(strata_value_ref(raw_), status_); }
    strata_value *get() const noexcept { return raw_; }
    /// Hand the reference over to C code.
    strata_value *release() noexcept
    {
        strata_value *raw = raw_;
        forget();
        return raw;
    }

private:
    void forget() noexcept
    {
        raw_ = nullptr;
        status_ = STRATA_MISS;
    }
    strata_value *raw_;
    int status_;
};

/// A policy that inherits everything: change the fields that differ.
struct policy : strata_policy {
    policy() noexcept : strata_policy() { size = sizeof(strata_policy); }
};

} // namespace strata_cpp

#endif // STRATA_VALUE_HPP

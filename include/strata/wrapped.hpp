// strata/wrapped.hpp - a namespace of one kind of values, with a loader and keys that have types.  Part of the stable API;
// strata.hpp includes it.
//
//   struct user { std::string name; int age; };
//   template <> struct strata_cpp::codec<user> {
//       static std::string encode(const user &u);
//       static user decode(slice bytes);
//   };
//
//   strata_cpp::wrapped<user, int> users(cache, "users", [&db](strata_cpp::load &, int id) { return db.user(id); });
//   user u = users.get(42);
//
// The loader is called with the parts of the key, which are all that it gets: also when a refresh calls it after the caller has gone.
// It lives until the cache has closed, so it may have captures, if what they refer to lives as long.
#ifndef STRATA_WRAPPED_HPP
#define STRATA_WRAPPED_HPP
#include <cstring>
#include <limits>
#include <stdexcept>

#include "strata/key.h"
#include "strata/strata.hpp"

namespace strata_cpp {

/// A loader throws this where the origin has no such thing.
struct absent {};

/// How a T becomes bytes, and bytes a T.  Specialise it for your types.  What stands here: texts as they are, and types that may be
/// copied as bytes, for machines of one kind.
template <class T, class Enable = void> struct codec {
    static_assert(std::is_trivially_copyable<T>::value && !std::is_pointer<T>::value,
                  "specialise strata_cpp::codec for this type: encode() and decode()");
    static std::string encode(const T &value) { return std::string(reinterpret_cast<const char *>(&value), sizeof value); }
    static T decode(slice bytes)
    {
        T value;
        if (bytes.size() != sizeof value)
            throw std::invalid_argument("what is stored has another size than the type");
        std::memcpy(&value, bytes.data(), sizeof value);
        return value;
    }
};
template <> struct codec<std::string> {
    static std::string encode(const std::string &value) { return value; }
    static std::string decode(slice bytes) { return bytes.str(); }
};

namespace detail {

/// The next part of a key, of this type.
inline strata_key_part next_part(strata_slice &rest, int type)
{
    strata_key_part part;
    if (strata_key_next(&rest, &part) != STRATA_OK || (part.type != type && !(type == STRATA_PART_INT && part.type == STRATA_PART_UINT)))
        throw std::invalid_argument("a key in this namespace has other parts than its wrapper: clear the namespace");
    return part;
}

/// How a T is a part of a key.
template <class T, class Enable = void> struct key_part;

template <> struct key_part<bool> {
    static void add(strata_key &key, bool value) { strata_key_flag(&key, value); }
    static bool take(strata_slice &rest) { return next_part(rest, STRATA_PART_FLAG).flag != 0; }
};
template <class T> struct key_part<T, typename std::enable_if<std::is_integral<T>::value && std::is_signed<T>::value>::type> {
    static void add(strata_key &key, T value) { strata_key_int(&key, value); }
    static T take(strata_slice &rest)
    {
        strata_key_part part = next_part(rest, STRATA_PART_INT);
        if (part.type != STRATA_PART_INT || part.integer < std::numeric_limits<T>::min() ||
            part.integer > std::numeric_limits<T>::max())
            throw std::out_of_range("a number in the key is none of its type");
        return static_cast<T>(part.integer);
    }
};
template <class T>
struct key_part<T, typename std::enable_if<std::is_integral<T>::value && !std::is_signed<T>::value>::type> {
    static void add(strata_key &key, T value) { strata_key_uint(&key, value); }
    static T take(strata_slice &rest)
    {
        strata_key_part part = next_part(rest, STRATA_PART_INT);
        if (part.integer < 0 || part.uinteger > std::numeric_limits<T>::max())
            throw std::out_of_range("a number in the key is none of its type");
        return static_cast<T>(part.uinteger);
    }
};
template <class T> struct key_part<T, typename std::enable_if<std::is_floating_point<T>::value>::type> {
    static_assert(sizeof(T) <= sizeof(double), "a part of a key has no more digits than a double");
    static void add(strata_key &key, T value) { strata_key_real(&key, static_cast<double>(value)); }
    static T take(strata_slice &rest) { return static_cast<T>(next_part(rest, STRATA_PART_REAL).real); }
};
template <> struct key_part<std::string> {
    static void add(strata_key &key, const std::string &value) { strata_key_text(&key, slice(value).raw()); }
    static std::string take(strata_slice &rest) { return slice(next_part(rest, STRATA_PART_TEXT).text).str(); }
};
template <class T> struct key_part<std::vector<T>, void> {
    static void add(strata_key &key, const std::vector<T> &values)
    {
        strata_key_list(&key, static_cast<std::uint32_t>(values.size()));
        for (std::size_t i = 0; i < values.size(); i++)
            key_part<T>::add(key, values[i]);
    }
    static std::vector<T> take(strata_slice &rest)
    {
        std::vector<T> values;
        for (std::uint32_t left = next_part(rest, STRATA_PART_LIST).count; left > 0; left--)
            values.push_back(key_part<T>::take(rest));
        return values;
    }
};

inline void add_parts(strata_key &) {}
template <class First, class... Rest> void add_parts(strata_key &key, const First &first, const Rest &...rest)
{
    key_part<First>::add(key, first);
    add_parts(key, rest...);
}

/// Takes the parts off the key one by one, and then calls the loader with all of them.
template <class T, class F, class... Left> struct call_with_parts {
    template <class... Done> static T run(F &loader, load &l, strata_slice rest, const Done &...done)
    {
        if (rest.size != 0)
            throw std::invalid_argument("a key in this namespace has more parts than its wrapper: clear the namespace");
        return loader(l, done...);
    }
};
template <class T, class F, class First, class... Left> struct call_with_parts<T, F, First, Left...> {
    template <class... Done> static T run(F &loader, load &l, strata_slice rest, const Done &...done)
    {
        const First first = key_part<First>::take(rest);
        return call_with_parts<T, F, Left...>::run(loader, l, rest, done..., first);
    }
};

/// A loader of bytes, out of one of Ts.
template <class T, class F, class... Parts> class typed_loader {
public:
    explicit typed_loader(F loader) : loader_(std::move(loader)) {}
    int operator()(load &l, slice key)
    {
        try {
            const std::string bytes = codec<T>::encode(call_with_parts<T, F, Parts...>::run(loader_, l, key.raw()));
            return l.copy(bytes);
        } catch (const absent &) {
            return l.absent();
        }
    }

private:
    F loader_;
};

} // namespace detail

/// Values of type T by keys of Parts: integers, bool, float, double, std::string, std::vector of these.  The loader is any callable
/// (load &, const Parts &...) that returns a T, throws absent(), or another exception, which fails the load for all who wait.
/// Threads: every call is safe from any thread, and the loader is called from any.
template <class T, class... Parts> class wrapped {
public:
    /// Opens the namespace `name` below `parent`, which no other wrapper may have.
    template <class F>
    wrapped(const space &parent, const char *name, F loader, const strata_policy *policy = nullptr)
        : space_(parent.open_space(name, detail::typed_loader<T, F, Parts...>(std::move(loader)), policy))
    {
    }

    /// False: there is none, and `out` stays as it is.  Throws what the load failed with, as strata_cpp::error.
    bool find(T &out, const Parts &...parts) const
    {
        strata_key key;
        const slice bytes = key_of(key, parts...);
        value found = space_.get_or_load(bytes);
        if (!found)
            return false;
        try {
            out = codec<T>::decode(slice(found.data(), found.size()));
        } catch (const std::exception &) { // another program's, or an older form: once more from the origin
            space_.erase(bytes);
            found = space_.get_or_load(bytes);
            if (!found)
                return false;
            out = codec<T>::decode(slice(found.data(), found.size()));
        }
        return true;
    }
    /// The value.  Throws std::out_of_range where there is none.
    T get(const Parts &...parts) const
    {
        T out = T();
        if (!find(out, parts...))
            throw std::out_of_range("the origin has no such thing");
        return out;
    }
    void set(const Parts &...parts, const T &value) const
    {
        strata_key key;
        space_.set(key_of(key, parts...), codec<T>::encode(value));
    }
    void erase(const Parts &...parts) const
    {
        strata_key key;
        space_.erase(key_of(key, parts...));
    }
    bool expire(const Parts &...parts) const
    {
        strata_key key;
        return space_.expire(key_of(key, parts...));
    }
    /// For everything else: clear, bans, stats.  Its keys are of strata/key.h.
    const space &in() const noexcept { return space_; }

private:
    static slice key_of(strata_key &key, const Parts &...parts)
    {
        strata_key_begin(&key);
        detail::add_parts(key, parts...);
        return slice(strata_key_slice(&key));
    }
    space space_;
};

} // namespace strata_cpp

#endif // STRATA_WRAPPED_HPP

// bench/peers/glib_lru.hpp - what a C developer writes on an afternoon: a GHashTable, a linked list and one mutex.
// It is given the fast hash of the floors instead of g_str_hash, which is in its favour.
#ifndef BENCH_PEERS_GLIB_LRU_HPP
#define BENCH_PEERS_GLIB_LRU_HPP
#include "bench/peers/peer.hpp"
#include <glib.h>

namespace bench
{

struct glib_lru : peer {
    static constexpr const char *name = "glib_mutex_lru";
    static constexpr bool evicts = true;

    explicit glib_lru(const config &c) : peer(c)
    {
        g_mutex_init(&mutex_);
        table_ = g_hash_table_new(hash, equal);
        head_.prev = head_.next = &head_;
    }

    template <class Use> bool get(const key &k, Use use)
    {
        g_mutex_lock(&mutex_);
        auto *n = (node *)g_hash_table_lookup(table_, &k);
        if (n != nullptr) {
            unlink(n);
            link_first(n);
            use(n->value);
        }
        g_mutex_unlock(&mutex_);
        return n != nullptr;
    }

    void put(const key &k)
    {
        auto *n = (node *)malloc(sizeof(node));
        if (n == nullptr)
            abort();
        n->k = k;
        n->value = copy_of_value(cfg);
        g_mutex_lock(&mutex_);
        auto *gone = (node *)g_hash_table_lookup(table_, &k);
        if (gone == nullptr && count_ >= cfg.capacity)
            gone = head_.prev;
        if (gone != nullptr) {
            g_hash_table_remove(table_, gone);
            unlink(gone);
            count_--;
        }
        g_hash_table_add(table_, n);
        link_first(n);
        count_++;
        g_mutex_unlock(&mutex_);
        if (gone != nullptr) {
            free(gone->value);
            free(gone);
        }
    }

  private:
    struct node {
        key k; // first: a node is found by its key's address
        node *prev, *next;
        char *value;
    };
    static guint hash(gconstpointer k) { return (guint)hash_key(*(const key *)k); }
    static gboolean equal(gconstpointer a, gconstpointer b) { return *(const key *)a == *(const key *)b; }
    static void unlink(node *n)
    {
        n->prev->next = n->next;
        n->next->prev = n->prev;
    }
    void link_first(node *n)
    {
        n->next = head_.next;
        n->prev = &head_;
        head_.next->prev = n;
        head_.next = n;
    }

    GMutex mutex_;
    GHashTable *table_;
    node head_ = {};
    size_t count_ = 0;
};

} // namespace bench
#endif // BENCH_PEERS_GLIB_LRU_HPP

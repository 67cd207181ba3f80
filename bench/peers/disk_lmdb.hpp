// bench/peers/disk_lmdb.hpp - LMDB without syncing, with and without a writable mapping; a transaction for every put, or
// for every 100 of them, which are visible to others only when it ends.
#ifndef BENCH_PEERS_DISK_LMDB_HPP
#define BENCH_PEERS_DISK_LMDB_HPP
#include "bench/peers/disk_store.hpp"
#include <lmdb.h>

namespace bench
{

class disk_lmdb : public disk_store
{
  public:
    disk_lmdb(const disk_config &c, unsigned flags, size_t puts_each) : disk_store(c), flags_(flags), each_(puts_each)
    {
    }

    void open() override
    {
        MDB_txn *txn;
        must("mdb_env_create", mdb_env_create(&env_));
        must("mdb_env_set_mapsize", mdb_env_set_mapsize(env_, cfg.most_bytes()));
        unsigned flags = MDB_NOSUBDIR | MDB_NORDAHEAD | MDB_NOSYNC | flags_;
        must("mdb_env_open", mdb_env_open(env_, (cfg.folder + "/db").c_str(), flags, 0600));
        must("mdb_txn_begin", mdb_txn_begin(env_, nullptr, 0, &txn));
        must("mdb_dbi_open", mdb_dbi_open(txn, nullptr, 0, &table_));
        must("mdb_txn_commit", mdb_txn_commit(txn));
    }

    void close() override
    {
        flush();
        if (reader_ != nullptr)
            mdb_txn_abort(reader_);
        reader_ = nullptr;
        mdb_env_close(env_);
    }

    void flush() override
    {
        if (writer_ != nullptr)
            must("mdb_txn_commit", mdb_txn_commit(writer_));
        writer_ = nullptr;
        puts_ = 0;
    }

    void put(const key &k, size_t value_number) override
    {
        if (writer_ == nullptr)
            must("mdb_txn_begin", mdb_txn_begin(env_, nullptr, 0, &writer_));
        MDB_val name = val(k.text, k.size), data = val(value(value_number), cfg.value_bytes());
        must("mdb_put", mdb_put(writer_, table_, &name, &data, 0));
        if (++puts_ == each_)
            flush();
    }

    bool get(const key &k, char *out) override
    {
        if (reader_ == nullptr)
            must("mdb_txn_begin", mdb_txn_begin(env_, nullptr, MDB_RDONLY, &reader_));
        else
            must("mdb_txn_renew", mdb_txn_renew(reader_));
        MDB_val name = val(k.text, k.size), data;
        int rc = mdb_get(reader_, table_, &name, &data);
        if (rc == 0)
            memcpy(out, data.mv_data, cfg.value_bytes());
        mdb_txn_reset(reader_);
        return rc == 0;
    }

  private:
    unsigned flags_;
    size_t each_, puts_ = 0;
    MDB_env *env_ = nullptr;
    MDB_dbi table_ = 0;
    MDB_txn *writer_ = nullptr, *reader_ = nullptr;

    static MDB_val val(const char *bytes, size_t size) { return { size, (void *)(uintptr_t)bytes }; }
    static void must(const char *what, int rc)
    {
        if (rc != 0)
            fail(what, mdb_strerror(rc));
    }
};

} // namespace bench
#endif // BENCH_PEERS_DISK_LMDB_HPP

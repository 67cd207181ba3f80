// bench/peers/disk_rocksdb.hpp - RocksDB as it comes, and as its authors set it up for a cache: FIFO compaction, no
// write-ahead log, a filter, a block cache.
#ifndef BENCH_PEERS_DISK_ROCKSDB_HPP
#define BENCH_PEERS_DISK_ROCKSDB_HPP
#include "bench/peers/disk_store.hpp"
#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>

namespace bench
{

class disk_rocksdb : public disk_store
{
  public:
    disk_rocksdb(const disk_config &c, bool fifo) : disk_store(c)
    {
        options_.create_if_missing = true;
        if (!fifo)
            return;
        rocksdb::BlockBasedTableOptions table;
        table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
        table.block_cache = rocksdb::NewLRUCache((size_t)256 << 20);
        options_.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
        options_.compaction_style = rocksdb::kCompactionStyleFIFO;
        options_.compaction_options_fifo.max_table_files_size = c.most_bytes();
        options_.max_open_files = -1;
        writes_.disableWAL = true;
    }

    void open() override { must("open", rocksdb::DB::Open(options_, cfg.folder + "/db", &db_)); }
    void close() override
    {
        must("close", db_->Close());
        delete db_;
        db_ = nullptr;
    }
    void flush() override { must("flush", db_->Flush(rocksdb::FlushOptions())); }

    void put(const key &k, size_t value_number) override
    {
        must("put", db_->Put(writes_, slice(k), rocksdb::Slice(value(value_number), cfg.value_bytes())));
    }
    bool get(const key &k, char *out) override
    {
        rocksdb::PinnableSlice found;
        if (!db_->Get(rocksdb::ReadOptions(), db_->DefaultColumnFamily(), slice(k), &found).ok() ||
            found.size() != cfg.value_bytes())
            return false;
        memcpy(out, found.data(), found.size());
        return true;
    }

  private:
    rocksdb::Options options_;
    rocksdb::WriteOptions writes_;
    rocksdb::DB *db_ = nullptr;

    static rocksdb::Slice slice(const key &k) { return rocksdb::Slice(k.text, k.size); }
    static void must(const char *what, const rocksdb::Status &s)
    {
        if (!s.ok())
            fail(what, s.ToString());
    }
};

} // namespace bench
#endif // BENCH_PEERS_DISK_ROCKSDB_HPP

// bench/peers/disk_strata.hpp - strata's disk layer at two heights: as users get it, alone or below memory, by strata_set
// and strata_get; and through the contract of a layer, without the cache above it.
#ifndef BENCH_PEERS_DISK_STRATA_HPP
#define BENCH_PEERS_DISK_STRATA_HPP
#include "bench/peers/disk_store.hpp"
#include "bench/peers/layer_tap.hpp"
#include "strata/disk.h"
#include "strata/strata.h"
#include <atomic>
#include <thread>

namespace bench
{

class disk_strata_base : public disk_store
{
  public:
    using disk_store::disk_store;

    void close() override
    {
        int status = strata_close(cache_);
        if (status < 0)
            fail("strata_close", strata_status_text(status));
        cache_ = nullptr;
    }

  protected:
    strata *cache_ = nullptr;

    std::string path() const { return cfg.folder + "/strata"; }
    static strata_slice slice(const key &k) { return strata_bytes(k.text, k.size); }
    static void must(const char *what, int status, const strata_error &err)
    {
        if (status != STRATA_OK)
            fail(what, std::string(err.where) + ": " + err.message);
    }
};

class disk_strata : public disk_strata_base
{
  public:
    enum stack { DISK, MEMORY_AND_DISK };

    disk_strata(const disk_config &c, stack s) : disk_strata_base(c), stack_(s) {}

    void open() override
    {
        strata_error err = STRATA_ERROR_INIT;
        std::string url = "disk:" + path() + "?max_bytes=" + std::to_string(cfg.most_bytes()) + "b";
        if (stack_ == MEMORY_AND_DISK) // a quarter of the values
            url = "memory:?max_bytes=" + std::to_string((cfg.entries * cfg.value_bytes() / 4) | 1 << 20) + "b|" + url;
        must("strata_open_url", strata_open_url(&cache_, url.c_str(), nullptr, &err), err);
    }

    void put(const key &k, size_t value_number) override
    {
        strata_error err = STRATA_ERROR_INIT;
        strata_slice bytes = strata_bytes(value(value_number), cfg.value_bytes());
        must("strata_set", strata_set(cache_, slice(k), bytes, nullptr, &err), err);
    }

    bool get(const key &k, char *out) override
    {
        strata_value *found;
        int status = strata_get(cache_, slice(k), &found, nullptr);
        if (status == STRATA_MISS)
            return false;
        if (status != STRATA_OK)
            fail("strata_get", strata_status_text(status));
        memcpy(out, strata_value_data(found), cfg.value_bytes());
        strata_value_unref(found);
        return true;
    }

  private:
    stack stack_;
};

// One operation of a layer, prepared as the cache would prepare it.
struct layer_call {
    strata_op op;
    strata_error err;
    std::atomic<bool> done;

    layer_call(strata_layer_host *host, const key &k, uint32_t kind) : done(false)
    {
        op = {};
        op.size = sizeof op;
        op.kind = kind;
        op.hash = hash_key(k);
        op.key = strata_bytes(k.text, k.size);
        op.now_ms = strata_host_now_ms(host);
        op.expires_ms = STRATA_FOREVER;
        op.err = &err;
        op.mem = strata_host_allocator(host);
        op.done = [](strata_op *o) { ((layer_call *)o->owner)->done.store(true, std::memory_order_release); };
        op.owner = this;
        err.status = STRATA_OK;
        err.message[0] = '\0';
    }
    int run(strata_layer *layer)
    {
        strata_op *one = &op;
        layer->ops->submit(layer, &one, 1);
        while (!done.load(std::memory_order_acquire))
            std::this_thread::yield();
        return op.status;
    }
    std::string words() const { return std::string(strata_status_text(op.status)) + ": " + err.message; }
};

class disk_strata_layer : public disk_strata_base
{
  public:
    using disk_strata_base::disk_strata_base;

    void open() override
    {
        strata_disk_options disk = STRATA_DISK_OPTIONS_INIT;
        std::string where = path();
        disk.path = where.c_str();
        disk.max_bytes = cfg.most_bytes();
        auto *tap = new layer_tap(strata_disk_layer(&disk), 0);
        strata_layer *layer = tap->layer();
        strata_options options = STRATA_OPTIONS_INIT;
        options.layers = &layer;
        options.layer_count = 1;
        strata_error err = STRATA_ERROR_INIT;
        must("strata_open", strata_open(&cache_, &options, &err), err);
        layer_ = tap->inner();
        host_ = tap->host();
        make_values();
    }

    void close() override
    {
        for (auto v : values_)
            strata_value_unref(v);
        values_.clear();
        disk_strata_base::close();
    }

    void put(const key &k, size_t value_number) override
    {
        layer_call c(host_, k, STRATA_OP_PUT);
        c.op.value = values_[value_number];
        c.op.meta.life = 1;
        c.op.meta.born_ms = c.op.now_ms;
        c.op.meta.born_wall_ms = c.op.now_ms;
        c.op.meta.fresh_ms = 3600000;
        c.op.expires_ms = c.op.now_ms + 3600000;
        if (c.run(layer_) != STRATA_OK)
            fail("put", c.words());
    }

    bool get(const key &k, char *out) override
    {
        layer_call c(host_, k, STRATA_OP_GET);
        int status = c.run(layer_);
        if (status == STRATA_MISS)
            return false;
        if (status != STRATA_OK && status != STRATA_STALE)
            fail("get", c.words());
        memcpy(out, strata_value_data(c.op.found), cfg.value_bytes());
        strata_value_unref(c.op.found);
        return true;
    }

  private:
    strata_layer *layer_ = nullptr;
    strata_layer_host *host_ = nullptr;
    std::vector<strata_value *> values_; // by number

    // A layer is given values, and the one public way to make them is to answer a get.
    void make_values()
    {
        strata_meta meta = {};
        for (size_t i = 0; i < value_pool::COUNT; i++) {
            strata_op op = {};
            op.size = sizeof op;
            op.kind = STRATA_OP_GET;
            if (strata_op_found(&op, value(i), cfg.value_bytes(), &meta) != STRATA_OK)
                fail("strata_op_found");
            values_.push_back(op.found);
        }
    }
};

} // namespace bench
#endif // BENCH_PEERS_DISK_STRATA_HPP

// bench/peers/layer_tap.hpp - a layer that stands in front of another one in a stack: it hands on what it is given, gets
// later if wanted, and lets a benchmark at the layer itself, started and with a host that works.
#ifndef BENCH_PEERS_LAYER_TAP_HPP
#define BENCH_PEERS_LAYER_TAP_HPP
#include "strata/sys/layer.h"
#include <cstdint>
#include <cstring>

namespace bench
{

class layer_tap
{
  public:
    // Takes `inner` over; the cache takes over what layer() answers.
    layer_tap(strata_layer *inner, int64_t get_delay_ms) : inner_(inner), delay_ms_(get_delay_ms)
    {
        static const strata_layer_ops ops = table();
        base_ = {};
        base_.size = sizeof base_;
        base_.ops = &ops;
        base_.flags = inner->flags;
        base_.failed = inner->failed;
        memcpy(base_.name, "tap", 4);
    }
    layer_tap(const layer_tap &) = delete;
    layer_tap &operator=(const layer_tap &) = delete;

    strata_layer *layer() { return &base_; }
    strata_layer *inner() { return inner_; }
    strata_layer_host *host() { return host_; }

  private:
    strata_layer base_; // first: a layer is found again by its base
    strata_layer *inner_;
    strata_layer_host *host_ = nullptr;
    int64_t delay_ms_;

    struct waiting {
        layer_tap *tap;
        strata_op *op;
    };

    static layer_tap *of(strata_layer *layer) { return (layer_tap *)(void *)layer; }

    static int start(strata_layer *layer, strata_layer_host *host, strata_error *err)
    {
        layer_tap *t = of(layer);
        t->host_ = host;
        return t->inner_->ops->start != nullptr ? t->inner_->ops->start(t->inner_, host, err) : STRATA_OK;
    }
    static void hand_on(void *ctx)
    {
        waiting w = *(waiting *)ctx;
        delete (waiting *)ctx;
        w.tap->inner_->ops->submit(w.tap->inner_, &w.op, 1);
    }
    static void submit(strata_layer *layer, strata_op *const *ops, size_t count)
    {
        layer_tap *t = of(layer);
        for (size_t i = 0; i < count; i++) {
            strata_op *op = ops[i];
            if (op->kind != STRATA_OP_GET || t->delay_ms_ == 0) {
                t->inner_->ops->submit(t->inner_, &op, 1);
                continue;
            }
            auto *w = new waiting{ t, op };
            int rc = strata_host_after(t->host_, t->delay_ms_, hand_on, w);
            if (rc < 0) {
                delete w;
                strata_op_done(op, rc);
            }
        }
    }
    static void maintain(strata_layer *layer, int64_t now_ms, uint64_t budget_us)
    {
        strata_layer *inner = of(layer)->inner_;
        if (inner->ops->maintain != nullptr)
            inner->ops->maintain(inner, now_ms, budget_us);
    }
    static void close(strata_layer *layer)
    {
        layer_tap *t = of(layer);
        t->inner_->ops->close(t->inner_);
        delete t;
    }
    static strata_layer_ops table()
    {
        strata_layer_ops ops = {};
        ops.size = sizeof ops;
        ops.kind = "tap";
        ops.start = start;
        ops.submit = submit;
        ops.maintain = maintain;
        ops.close = close;
        return ops;
    }
};

} // namespace bench
#endif // BENCH_PEERS_LAYER_TAP_HPP

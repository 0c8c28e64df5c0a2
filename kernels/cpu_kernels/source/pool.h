// Threads that share the chunks of a sequence of phases; a phase begins when all chunks of the one before are done.
//
// Nobody waits for a thread that the system doesn't run, unless it holds a chunk: whoever calls `run` can do all the
// work alone, workers join when they get the processor. The ticket holds everything that they agree on:
//
//     bits  48..63 run    32..47 phase    16..31 chunks of the phase    0..15 next chunk
#pragma once

#include <immintrin.h>
#include <sched.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

struct Work {
    virtual int phases() const = 0;
    virtual int chunks(int phase) const = 0;  // 1 to 65,534
    virtual void run(int phase, int chunk, int thread) = 0;
    virtual ~Work() = default;
};

class Pool {
   public:
    explicit Pool(int threads) : sleepers_(threads > 1 ? threads - 1 : 0) {
        try {
            for (int i = 0; i < int(sleepers_.size()); ++i) std::thread([this, i] { worker(i); }).detach();
        } catch (const std::system_error&) {  // no more threads are allowed: those that there are do the work
        }
    }

    int threads() const { return int(sleepers_.size()) + 1; }

    // `threads`: how many take part, the caller included. One run at a time; others wait.
    void run(Work& work, int threads) {
        std::lock_guard<std::mutex> turn(turn_);
        work_ = &work;
        done_.store(0, std::memory_order_relaxed);
        const uint64_t run = (ticket_.load() >> 48) + 1;
        ticket_.store(ticket(run, 0, work.chunks(0)), std::memory_order_release);
        for (int i = 0; i + 1 < threads && i < int(sleepers_.size()); ++i) {
            sleepers_[i].store(uint32_t(run), std::memory_order_release);
            sleepers_[i].notify_one();
        }
        take_part(0);
    }

   private:
    static constexpr uint64_t FINISHED = 0xffff;  // as the number of chunks

    static uint64_t ticket(uint64_t run, uint64_t phase, uint64_t chunks) {
        return run << 48 | phase << 32 | chunks << 16;
    }

    void worker(int index) {
        uint32_t seen = 0;
        for (;;) {
            sleepers_[index].wait(seen, std::memory_order_acquire);
            seen = sleepers_[index].load(std::memory_order_acquire);
            take_part(index + 1);
        }
    }

    void take_part(int thread) {
        for (int spins = 0;;) {
            uint64_t now = ticket_.load(std::memory_order_acquire);
            const uint64_t chunks = now >> 16 & 0xffff, chunk = now & 0xffff;
            if (chunks == FINISHED) return;
            if (chunk >= chunks) {  // the others finish the phase
                if (++spins < 4000)
                    _mm_pause();
                else
                    sched_yield();
                continue;
            }
            if (!ticket_.compare_exchange_weak(now, now + 1, std::memory_order_acq_rel)) continue;
            // Holding a chunk, this thread keeps the run from ending: `work_` is its own until it counts as done.
            const int phase = int(now >> 32 & 0xffff);
            work_->run(phase, int(chunk), thread);
            spins = 0;
            if (done_.fetch_add(1, std::memory_order_acq_rel) + 1 == chunks) {
                done_.store(0, std::memory_order_relaxed);
                const bool last = phase + 1 == work_->phases();
                const uint64_t next = last ? FINISHED : uint64_t(work_->chunks(phase + 1));
                ticket_.store(ticket(now >> 48, uint64_t(phase) + 1, next), std::memory_order_release);
            }
        }
    }

    std::mutex turn_;
    std::atomic<uint64_t> ticket_{FINISHED << 16};
    std::atomic<uint64_t> done_{0};
    Work* work_ = nullptr;
    std::vector<std::atomic<uint32_t>> sleepers_;
};

/* Add to the wall clock as many seconds as the file in CLOCK_OFFSET says; no other clock is touched.

   Waits that end at a moment of the wall clock, as librdkafka's do, end when this clock shows it: they are cut into
   slices, each of which looks at a wake-up without a cause. (libfaketime hands their ends to the kernel, whose clock has
   not jumped, so that they last as long as the jump.) */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>

static int (*real_clock)(clockid_t, struct timespec *);
static _Atomic long offset, read_at = -1;

static long current_offset(void)
{
    struct timespec now;
    long moment;

    if (!real_clock)
        real_clock = (int (*)(clockid_t, struct timespec *)) dlsym(RTLD_NEXT, "clock_gettime");
    real_clock(CLOCK_MONOTONIC, &now);
    moment = now.tv_sec * 10 + now.tv_nsec / 100000000; /* tenths of a second */
    if (atomic_exchange(&read_at, moment) != moment) {
        const char *path = getenv("CLOCK_OFFSET");
        FILE *file = path ? fopen(path, "r") : NULL;
        long found;

        if (file) {
            if (fscanf(file, "%ld", &found) == 1)
                atomic_store(&offset, found);
            fclose(file);
        }
    }
    return atomic_load(&offset);
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
    long added = current_offset();
    int status = real_clock(clock, time);

    if (!status && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        time->tv_sec += added;
    return status;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec precise;
    int status = clock_gettime(CLOCK_REALTIME, &precise);

    (void) zone;
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return status;
}

time_t time(time_t *result)
{
    struct timespec precise;

    clock_gettime(CLOCK_REALTIME, &precise);
    if (result)
        *result = precise.tv_sec;
    return precise.tv_sec;
}

/* Give the true time at which to look again; say whether that is before the end of the wait. */
static int next_look(const struct timespec *end, struct timespec *look)
{
    long added = current_offset();

    real_clock(CLOCK_REALTIME, look);
    look->tv_nsec += 200000000;
    if (look->tv_nsec >= 1000000000) {
        look->tv_sec += 1;
        look->tv_nsec -= 1000000000;
    }
    if (end->tv_sec - added > look->tv_sec || (end->tv_sec - added == look->tv_sec && end->tv_nsec > look->tv_nsec))
        return 1;
    look->tv_sec = end->tv_sec - added;
    look->tv_nsec = end->tv_nsec;
    return 0;
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict end)
{
    int (*real)(cnd_t *, mtx_t *, const struct timespec *) =
        (int (*)(cnd_t *, mtx_t *, const struct timespec *)) dlsym(RTLD_NEXT, "cnd_timedwait");
    struct timespec look;
    int is_early = next_look(end, &look);
    int status = real(condition, mutex, &look);

    return status == thrd_timedout && is_early ? thrd_success : status;
}

int pthread_cond_timedwait(
    pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex, const struct timespec *restrict end)
{
    void *found = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2"); /* not the one for conditions of old */
    int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    struct timespec look;
    int is_early, status;

    if (!found)
        found = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    real = (int (*)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *)) found;
    if (end->tv_sec < 1000000000) /* a moment of the monotonic clock */
        return real(condition, mutex, end);
    is_early = next_look(end, &look);
    status = real(condition, mutex, &look);
    return status == ETIMEDOUT && is_early ? 0 : status;
}

/* Crashes in the callback that its CASE_x names, in the way that the last byte it was fed says. */
#include <polyport_plugin.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const pp_host_api *api;
static char kind;

static pp_status create(const pp_host_api *given, pp_host *host, const pp_settings *settings,
                        void **instance, pp_text *error) {
  (void)settings, (void)error;
  api = given;
  *instance = host;
  return PP_OK;
}

/* Not a tail call, and nothing a compiler could turn into a loop or call one without an end. */
static int deeper(volatile char *above) {
  volatile char frame[512];
  frame[0] = above[0];
  return frame[0] == 1 ? 0 : deeper(frame) + frame[0];
}

/* Over its end by so much that the guard behind it is hit, and nothing else. */
static void smash(volatile size_t n) {
  char small[8];
  memset(small, 'x', n);
  kind = *(volatile char *)small;
}

static void crash(void) {
  volatile int zero = 0;
  volatile char first = 0;
  switch (kind) {
    case 'n': *(volatile int *)(uintptr_t)16 = 1; break;
    case 'j': ((void (*)(void))(uintptr_t)zero)(); break;
    case 'o': deeper(&first); break;
    case 'a': abort();
    case 'd': {
      char *volatile twice = malloc(4000);
      char *volatile above = malloc(16);
      free(twice);
      free(twice);
      free(above);
      break;
    }
    case 'b': {
      int fd = memfd_create("empty", 0);
      char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
      page[0] = 1;
      break;
    }
    case 'f': zero = kind / zero; break;
    case 'i': __builtin_trap();
    case 's': syscall(SYS_ptrace, 0, 0, 0, 0); break;
    case 'k': smash(sizeof(void *) + 4); break;
    case 'w': {
      static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
      pthread_mutex_lock(&mutex);
      pthread_mutex_lock(&mutex);
      break;
    }
    case 'm': for (;;) memset(malloc(1 << 20), 1, 1 << 20);
    case 'l': for (volatile int on = 1; on;) {} break;
    case 'z': for (;;) nanosleep(&(struct timespec){100, 0}, NULL);
    default: break;
  }
}

#if defined(CASE_serve)
static pp_status serve(void *host, const pp_stream *s, const pp_session_info *info) {
  (void)host, (void)info;
  size_t n = 0;
  s->read(s->inner, &kind, 1, 0, &n);
  if (n == 1) crash();
  return PP_OK;
}
static const void *extension(const char *id) {
  static const pp_blocking_1 blocking = {sizeof(pp_blocking_1), 0, serve, NULL};
  return strcmp(id, PP_EXT_BLOCKING) == 0 ? &blocking : NULL;
}
#else
static pp_status feed(void *host, pp_session session, void *state, const uint8_t *bytes, size_t n,
                      size_t *consumed) {
  (void)state, (void)host, (void)session;
  kind = (char)bytes[n - 1];
  *consumed = n;
#if defined(CASE_feed)
  crash();
#elif defined(CASE_timer)
  pp_timer timer;
  return api->timer_set(host, 0, 1, &timer);
#endif
  return api->write(host, session, bytes, n, 0);
}
#endif

#if defined(CASE_open)
static pp_status opened(void *host, pp_session session, const pp_session_info *info, void **state) {
  (void)host, (void)session, (void)info, (void)state;
  crash();
  return PP_OK;
}
#elif defined(CASE_closed)
static void closed(void *host, pp_session session, void *state, uint32_t why) {
  (void)host, (void)session, (void)state, (void)why;
  crash();
}
#elif defined(CASE_timer)
static void timer(void *host, pp_timer which, uint64_t token) {
  (void)host, (void)which, (void)token;
  crash();
}
#endif

static const pp_plugin table = {
    .magic = PP_MAGIC,
    .size = sizeof(pp_plugin),
    .major = PP_MAJOR,
    .minor = PP_MINOR,
    .name = "crashes",
    .version = "1.2.3",
    .create = create,
#if defined(CASE_serve)
    .extension = extension,
#else
    .feed = feed,
#endif
#if defined(CASE_open)
    .open = opened,
#elif defined(CASE_closed)
    .closed = closed,
#elif defined(CASE_timer)
    .timer = timer,
#endif
};

const pp_plugin *polyport_plugin_v1(void) { return &table; }

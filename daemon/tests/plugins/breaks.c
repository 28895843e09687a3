/* An echo that breaks one rule, the one that its CASE_x names, and would be taken all the same. */
#include <polyport_plugin.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const pp_host_api *api;

#if defined(CASE_drain) || defined(CASE_ends) || defined(CASE_null) || defined(CASE_unarmed)
static void crash(void) { *(volatile int *)(uintptr_t)16 = 1; }
#endif

static void drain(void *host, uint64_t grace_ms) {
  (void)host, (void)grace_ms;
#if defined(CASE_drain)
  crash();
#endif
}

static void closed(void *host, pp_session session, void *state, uint32_t why) {
  (void)host, (void)session, (void)state, (void)why;
#if defined(CASE_ends)
  if (why == PP_END_LOST) crash();
#endif
}

#if defined(CASE_worded) /* breaks no rule: it has words, though the daemon has the same ones */
static const char worded[] = "refused with status 2: below that it would never end";
#endif

#if defined(CASE_bound)
static __thread int is_loader; /* of the thread that asked for the table */
#endif

#if defined(CASE_foreign)
struct call {
  void *host;
  pp_session session;
  const uint8_t *bytes;
  size_t n;
};

static void *write_elsewhere(void *arg) {
  struct call *call = arg;
  api->write(call->host, call->session, call->bytes, call->n, 0);
  return NULL;
}
#endif

static pp_status create(const pp_host_api *given, pp_host *host, const pp_settings *settings,
                        void **instance, pp_text *error) {
  (void)settings, (void)error;
  api = given;
  *instance = host;
#if defined(CASE_unwoken)
  pp_waker *waker = NULL;
  (void)api->waker_new(host, &waker); /* which may answer that there are too many */
  *(volatile char *)waker;
  api->waker_free(waker);
#elif defined(CASE_wordless)
  return PP_VALUE(settings, 0)->number < 2 ? PP_E_CONFIG : PP_OK;
#elif defined(CASE_worded)
  if (PP_VALUE(settings, 0)->number >= 2) return PP_OK;
  error->len = sizeof worded - 1;
  memcpy(error->ptr, worded, error->len);
  return PP_E_CONFIG;
#elif defined(CASE_divides)
  return 100 / (int)PP_VALUE(settings, 0)->number < 0;
#endif
  return PP_OK;
}

static pp_status open_session(void *host, pp_session session, const pp_session_info *info,
                              void **state) {
  (void)host, (void)session, (void)info, (void)state;
#if defined(CASE_memory)
  *state = malloc(100);
#elif defined(CASE_descriptor)
  return dup(2) >= 0 ? PP_OK : PP_E_FAIL;
#endif
  return PP_OK;
}

static pp_status feed(void *host, pp_session session, void *state, const uint8_t *bytes, size_t n,
                      size_t *consumed) {
  (void)state;
  *consumed = n;
#if defined(CASE_pieces)
  return api->write(host, session, bytes, 1, 0); /* of what may be many */
#elif defined(CASE_full)
  (void)api->write(host, session, bytes, n, 0); /* consumed, whether it was taken or not */
  return PP_OK;
#elif defined(CASE_bound)
  return is_loader ? api->write(host, session, bytes, n, 0) : PP_E_FAIL;
#elif defined(CASE_unarmed)
  pp_timer timer;
  if (api->timer_set(host, 1000, 0, &timer) != PP_OK) crash();
  (void)api->timer_cancel(host, timer);
  return api->write(host, session, bytes, n, 0);
#elif defined(CASE_foreign)
  struct call call = {host, session, bytes, n};
  pthread_t thread;
  if (pthread_create(&thread, NULL, write_elsewhere, &call) == 0) pthread_join(thread, NULL);
  return PP_OK;
#elif defined(CASE_null)
  if (bytes[0] == 0) crash();
  return api->write(host, session, bytes, n, 0);
#else
  return api->write(host, session, bytes, n, 0);
#endif
}

#if defined(CASE_wordless) || defined(CASE_worded) || defined(CASE_divides)
static const pp_option options[] = {
    {.name = "pace", .help = "How fast.", .default_text = "5", .min = 0, .max = 9, .kind = PP_KIND_INTEGER},
};
#endif

static const pp_plugin plugin = {
    .magic = PP_MAGIC,
    .size = sizeof plugin,
    .major = PP_MAJOR,
    .minor = PP_MINOR,
    .name = "breaks",
    .version = "1.0.0",
    .create = create,
    .open = open_session,
    .feed = feed,
    .drain = drain,
    .closed = closed,
#if defined(CASE_wordless) || defined(CASE_worded) || defined(CASE_divides)
    .options = options,
    .option_count = 1,
    .option_stride = sizeof(pp_option),
#endif
};

const pp_plugin *polyport_plugin_v1(void) {
#if defined(CASE_bound)
  is_loader = 1;
#endif
  return &plugin;
}

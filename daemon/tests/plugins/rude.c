/* An echo that turns rude: input that starts with '!' makes it do what its CASE_x says, all other
 * input is echoed. So a test can talk to the service before, while and after it happens. */
#include <polyport_plugin.h>
#include <signal.h>
#include <stdlib.h>

static const pp_host_api *api;

static pp_status create(const pp_host_api *given, pp_host *host, const pp_settings *settings,
                        void **instance, pp_text *error) {
  (void)settings, (void)error;
  api = given;
  *instance = host;
  return PP_OK;
}

#if defined(CASE_stale)
/* Keeps the handle of the last session that ended, and writes to it later. */
static pp_session stale;
static void closed(void *host, pp_session session, void *state, uint32_t why) {
  (void)host, (void)state, (void)why;
  stale = session;
}
#define CLOSED closed
#else
#define CLOSED NULL
#endif

#if defined(CASE_flood)
static char block[65536];
static void flood(void *host, pp_session session, void *state) {
  (void)state;
  while (api->write(host, session, block, sizeof block, 0) == PP_OK) {
  }
}
#define WRITABLE flood
#else
#define WRITABLE NULL
#endif

static pp_status rude(void *host, pp_session session, const uint8_t *bytes, size_t n,
                      size_t *consumed) {
  (void)host, (void)session, (void)bytes;
  *consumed = n;
#if defined(CASE_segfault)
  *(volatile int *)(uintptr_t)16 = 1;
#elif defined(CASE_abort)
  abort();
#elif defined(CASE_realtime)
  raise(SIGRTMIN);
#elif defined(CASE_exit)
  exit(0);
#elif defined(CASE_loop)
  for (volatile int on = 1; on;) {
  }
#elif defined(CASE_overconsume)
  *consumed = n + 1;
#elif defined(CASE_panic)
  return PP_E_PANIC;
#elif defined(CASE_fault)
  return api->fault(host, "caught \x1b[1ma panic", 18);
#elif defined(CASE_fail)
  return PP_E_FAIL;
#elif defined(CASE_strange_status)
  return 4711;
#elif defined(CASE_full)
  api->write(host, session, "taken back", 10, 0);
  return PP_E_FULL;
#elif defined(CASE_stale)
  pp_status status = api->write(host, stale, bytes, n, 0);
  if (status == PP_E_GONE) return api->write(host, session, "gone\n", 5, 0);
  return api->write(host, session, "wrong\n", 6, 0);
#elif defined(CASE_flood)
  flood(host, session, NULL);
#endif
  return PP_OK;
}

static pp_status feed(void *host, pp_session session, void *state, const uint8_t *bytes, size_t n,
                      size_t *consumed) {
  (void)state;
  if (bytes[0] == '!') return rude(host, session, bytes, n, consumed);
  *consumed = n;
  return api->write(host, session, bytes, n, 0);
}

#if defined(CASE_veto)
/* Wants nobody whose address ends in 9. */
static pp_status open_session(void *host, pp_session session, const pp_session_info *info,
                              void **state) {
  (void)host, (void)session, (void)state;
  return info->peer.ip[3] == 9 ? PP_E_FAIL : PP_OK;
}
#define OPEN open_session
#else
#define OPEN NULL
#endif

static const pp_plugin table = {
    .magic = PP_MAGIC,
    .size = sizeof(pp_plugin),
    .major = PP_MAJOR,
    .minor = PP_MINOR,
    .name = "rude",
    .version = "1.0.0",
    .create = create,
    .open = OPEN,
    .feed = feed,
    .writable = WRITABLE,
    .closed = CLOSED,
};

const pp_plugin *polyport_plugin_v1(void) { return &table; }

/* Uses what is over: a session in its `closed`, the host in `destroy` and after it, from the next
 * instance's callback and from a thread of its own. What it was answered the next instance tells. */
#include <polyport_plugin.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static const pp_host_api *api;
static char told[1 << 10];
static pp_host *gone;
static pp_waker *waker;
static pp_session last;

static void tell(const char *what, pp_status answer) {
  const size_t at = strlen(told);
  snprintf(told + at, sizeof told - at, "%s %d\n", what, answer);
}

static pp_status create(const pp_host_api *given, pp_host *host, const pp_settings *settings,
                        void **instance, pp_text *error) {
  (void)settings, (void)error;
  api = given;
  *instance = host;
  return waker == NULL ? api->waker_new(host, &waker) : PP_OK;
}

static void closed(void *host, pp_session session, void *state, uint32_t why) {
  uint64_t queued = 0;
  (void)state, (void)why;
  if (gone != NULL) return;
  last = session;
  tell("closed: write", api->write(host, session, "x", 1, 0));
  tell("closed: close", api->close(host, session, PP_CLOSE_FINISH, NULL, 0));
  tell("closed: pause", api->pause(host, session, 1));
  tell("closed: idle", api->idle(host, session, 1));
  tell("closed: queued", api->queued(host, session, &queued));
}

static void destroy(void *host) {
  pp_timer timer;
  if (gone != NULL) return;
  gone = (pp_host *)host;
  tell("destroy: write", api->write(gone, last, "x", 1, 0));
  tell("destroy: timer", api->timer_set(gone, 1, 1, &timer));
}

static void *elsewhere(void *nothing) {
  (void)nothing;
  tell("thread: write", api->write(gone, last, "x", 1, 0));
  tell("thread: wake", api->waker_wake(waker, 1));
  tell("thread: fault", api->fault(gone, "late", 4));
  api->log(gone, PP_LOG_ERROR, last, "late", 4);
  return NULL;
}

static pp_status feed(void *host, pp_session session, void *state, const uint8_t *bytes, size_t n,
                      size_t *consumed) {
  (void)state, (void)bytes;
  *consumed = n;
  if (gone != NULL) {
    pp_timer timer;
    pp_waker *another = NULL;
    pthread_t id;
    tell("gone: write", api->write(gone, last, "x", 1, 0));
    tell("gone: living session", api->write(gone, session, "x", 1, 0));
    tell("gone: timer", api->timer_set(gone, 1, 1, &timer));
    tell("gone: waker", api->waker_new(gone, &another));
    tell("gone: wake", api->waker_wake(waker, 1));
    if (pthread_create(&id, NULL, elsewhere, NULL) != 0) return PP_E_FAIL;
    pthread_join(id, NULL);
    api->waker_free(waker);
  }
  return api->write(host, session, told, strlen(told), 0);
}

static const pp_plugin table = {
    .magic = PP_MAGIC, .size = sizeof table, .major = PP_MAJOR, .minor = PP_MINOR, .name = "late",
    .create = create, .feed = feed, .closed = closed, .destroy = destroy};

const pp_plugin *polyport_plugin_v1(void) { return &table; }

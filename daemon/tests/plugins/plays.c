/* A protocol whose first byte of input says what is done with all of it, and which holds the host to the
 * header: a broken promise ends the process. So whoever feeds it any bytes need not know what it is told. */
#include <polyport_plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOLDS(promise) ((promise) ? (void)0 : broken(#promise, __LINE__))

enum { PEERS = 16, LATER_MS = 20, KEEP_BYTES = 8 };

struct seat {
  pp_session id; /* 0 is a free seat */
  int closed, finished, paused, full, owed, peer_finished, stays;
  uint8_t *left; /* what was not consumed */
  size_t left_bytes;
  pp_timer timer; /* armed, or 0 */
  char timer_does;
};

struct play {
  pp_host *host;
  struct seat seats[PEERS];
  int draining, refuses, fulls;
};

static const pp_host_api *api;

static void broken(const char *promise, int line)
{
  fprintf(stderr, "plays.c:%d: the host breaks a promise: %s\n", line, promise);
  abort();
}

static int is_ours(struct play *play, struct seat *seat, pp_session id)
{
  return seat >= play->seats && seat < play->seats + PEERS && seat->id == id && id != 0;
}

static struct seat *other(struct play *play, const struct seat *than)
{
  for (int i = 0; i < PEERS; i++)
    if (play->seats[i].id != 0 && &play->seats[i] != than) return &play->seats[i];
  return NULL;
}

/* All or nothing, and counted at once. */
static pp_status say(struct play *play, struct seat *seat, const void *bytes, size_t n, uint32_t flags)
{
  uint64_t before = 0, after = 0;
  HOLDS(api->queued(play->host, seat->id, &before) == PP_OK);
  pp_status status = api->write(play->host, seat->id, bytes, n, flags);
  HOLDS(api->queued(play->host, seat->id, &after) == PP_OK);
  HOLDS(status == PP_OK || status == PP_E_FULL || status == PP_E_GONE);
  HOLDS(after == before + (status == PP_OK ? n : 0));
  if (seat->closed || seat->finished) HOLDS(status == PP_E_GONE);
  if (status == PP_E_FULL) seat->owed = 1;
  if (status == PP_OK && flags == PP_WRITE_FINISH) seat->finished = 1;
  return status;
}

static void end(struct play *play, struct seat *seat, uint32_t how)
{
  pp_status status = api->close(play->host, seat->id, how, "asked", 5);
  HOLDS(status == (seat->closed ? PP_E_GONE : PP_OK));
  seat->closed = 1;
}

static void later(struct play *play, struct seat *seat, char does)
{
  if (seat->timer != 0) HOLDS(api->timer_cancel(play->host, seat->timer) == PP_OK);
  HOLDS(api->timer_set(play->host, LATER_MS, (uint64_t)(seat - play->seats), &seat->timer) == PP_OK);
  HOLDS(seat->timer != 0);
  seat->timer_does = does;
}

static void pause_until_later(struct play *play, struct seat *seat)
{
  HOLDS(api->pause(play->host, seat->id, 1) == PP_OK);
  seat->paused = 1;
  later(play, seat, 'r');
}

static pp_status create(const pp_host_api *given, pp_host *host, const pp_settings *settings,
                        void **instance, pp_text *error)
{
  (void)settings, (void)error;
  struct play *play = calloc(1, sizeof *play);
  if (!play) return PP_E_FAIL;
  api = given;
  play->host = host;
  *instance = play;
  return PP_OK;
}

static void destroy(void *instance)
{
  struct play *play = instance;
  for (int i = 0; i < PEERS; i++) HOLDS(play->seats[i].id == 0);
  free(play);
}

static void drain(void *instance, uint64_t grace_ms)
{
  struct play *play = instance;
  (void)grace_ms;
  HOLDS(!play->draining);
  play->draining = 1;
}

static pp_status open_(void *instance, pp_session id, const pp_session_info *info, void **state)
{
  struct play *play = instance;
  struct seat *seat = NULL;
  HOLDS(id != 0 && info->size >= sizeof *info && *state == NULL && !play->draining);
  for (int i = 0; i < PEERS; i++) {
    HOLDS(play->seats[i].id != id);
    if (!seat && play->seats[i].id == 0) seat = &play->seats[i];
  }
  HOLDS(seat != NULL);
  if (play->refuses > 0) {
    play->refuses--;
    api->write(play->host, id, "not heard", 9, 0);
    return PP_E_FAIL;
  }
  *seat = (struct seat){.id = id};
  *state = seat;
  say(play, seat, "welcome", 7, 0);
  return PP_OK;
}

static void keep(struct seat *seat, const uint8_t *bytes, size_t n)
{
  uint8_t *left = n > 0 ? malloc(n) : NULL;
  if (left) memcpy(left, bytes, n);
  free(seat->left);
  seat->left = left;
  seat->left_bytes = left ? n : 0;
}

/* What the first byte asks for; *took is all of it unless said otherwise. */
static pp_status obey(struct play *play, struct seat *seat, const uint8_t *bytes, size_t n, size_t *took)
{
  struct seat *them = other(play, seat);
  size_t half = (n + 1) / 2;
  pp_status status;
  switch (bytes[0]) {
    case 'K': *took = n < KEEP_BYTES ? 0 : n; return PP_OK;
    case 'H': *took = half; return say(play, seat, bytes, half, 0);
    case 'B': return say(play, seat, "bytes of its own", 16, 0);
    case 'L': return say(play, seat, bytes, n, PP_WRITE_FINISH);
    case 'F': /* full, now and then, after a write that is taken back */
      if (play->fulls++ % 2 == 0) return say(play, seat, bytes, half, 0), PP_E_FULL;
      break;
    case 'R': /* who cannot be told misses it */
      if (them) say(play, them, bytes, n, 0), say(play, them, bytes + n - half, half, 0);
      break;
    case 'O':
      if (them && n > 1) end(play, them, bytes[1] % 3);
      break;
    case 'N': play->refuses = 1; break;
    case 'X': return PP_E_FAIL;
    case 'Z': return api->fault(play->host, "asked for", 9);
    case 'Y': return PP_E_PANIC;
    case 'M': *took = n + 1; return PP_OK;
    case 'U': return 4711; /* a status that nobody knows, and positive */
    default: break;
  }
  status = say(play, seat, bytes, n, 0);
  if (status != PP_OK) return status;
  switch (bytes[0]) {
    case 'P': pause_until_later(play, seat); break;
    case 'p': /* not counted */
      HOLDS(api->pause(play->host, seat->id, 1) == PP_OK);
      HOLDS(api->pause(play->host, seat->id, 1) == PP_OK);
      HOLDS(api->pause(play->host, seat->id, 0) == PP_OK);
      break;
    case 'C': end(play, seat, PP_CLOSE_FINISH); break;
    case 'D': end(play, seat, PP_CLOSE_DONE); break;
    case 'A': end(play, seat, PP_CLOSE_ABORT); break;
    case 'c': end(play, seat, PP_CLOSE_FINISH), end(play, seat, PP_CLOSE_ABORT); break;
    case 'I': HOLDS(api->idle(play->host, seat->id, bytes[n - 1]) == PP_OK); break;
    case 'T': later(play, seat, 'c'); break;
    case 'S': seat->stays = 1; break;
    case 'W': /* what the header forbids changes nothing */
      HOLDS(api->write(play->host, seat->id, NULL, 1, 0) == PP_E_ARG);
      HOLDS(api->write(play->host, seat->id, bytes, 1, 64) == PP_E_ARG);
      HOLDS(api->close(play->host, seat->id, 99, NULL, 0) == PP_E_ARG);
      HOLDS(api->write(play->host, seat->id ^ 0x5000000000000, bytes, 1, 0) == PP_E_GONE);
      break;
    default: break;
  }
  return PP_OK;
}

static pp_status feed(void *instance, pp_session id, void *state, const uint8_t *bytes, size_t n,
                      size_t *consumed)
{
  struct play *play = instance;
  struct seat *seat = state;
  HOLDS(is_ours(play, seat, id));
  HOLDS(!seat->closed && !seat->paused && !seat->full && !seat->peer_finished);
  HOLDS(n > 0 && *consumed == 0 && n >= seat->left_bytes);
  HOLDS(seat->left_bytes == 0 || memcmp(bytes, seat->left, seat->left_bytes) == 0);
  size_t took = n;
  int was_finished = seat->finished;
  pp_status status = obey(play, seat, bytes, n, &took);
  if (status == PP_E_FULL) {
    took = 0;
    seat->full = seat->owed = 1;
    seat->finished = was_finished;
  }
  *consumed = took;
  if (took <= n) keep(seat, bytes + took, n - took);
  return status;
}

static pp_status peer_finished(void *instance, pp_session id, void *state)
{
  struct play *play = instance;
  struct seat *seat = state;
  HOLDS(is_ours(play, seat, id));
  HOLDS(!seat->closed && !seat->paused && !seat->full && !seat->peer_finished);
  seat->peer_finished = 1;
  if (seat->left_bytes % 2 == 1) return PP_E_FAIL;
  if (seat->stays) {
    later(play, seat, 'c');
  } else {
    end(play, seat, PP_CLOSE_FINISH);
  }
  return PP_OK;
}

static void writable(void *instance, pp_session id, void *state)
{
  struct play *play = instance;
  struct seat *seat = state;
  HOLDS(is_ours(play, seat, id) && !seat->closed && seat->owed);
  seat->owed = seat->full = 0;
}

static void closed(void *instance, pp_session id, void *state, uint32_t why)
{
  struct play *play = instance;
  struct seat *seat = state;
  uint64_t bytes = 4711;
  HOLDS(is_ours(play, seat, id) && why <= PP_END_CARRIED);
  HOLDS(api->queued(play->host, id, &bytes) == PP_E_GONE && bytes == 4711);
  HOLDS(api->write(play->host, id, "x", 1, 0) == PP_E_GONE);
  if (seat->timer != 0) HOLDS(api->timer_cancel(play->host, seat->timer) == PP_OK);
  free(seat->left);
  *seat = (struct seat){0};
  struct seat *them = other(play, seat);
  if (them) say(play, them, "one left", 8, 0);
}

static void timer(void *instance, pp_timer which, uint64_t token)
{
  struct play *play = instance;
  HOLDS(token < PEERS);
  struct seat *seat = &play->seats[token];
  HOLDS(seat->id != 0 && seat->timer == which && which != 0);
  HOLDS(api->timer_cancel(play->host, which) == PP_E_GONE);
  seat->timer = 0;
  if (seat->timer_does == 'c') {
    if (!seat->closed) end(play, seat, PP_CLOSE_FINISH);
  } else if (api->pause(play->host, seat->id, 0) == PP_OK) {
    seat->paused = 0;
  }
}

static void wake(void *instance, uint64_t token)
{
  struct play *play = instance;
  struct seat *seat = other(play, NULL);
  HOLDS(token == 1);
  if (seat) say(play, seat, "woken", 5, 0);
}

static const pp_plugin table = {
    .magic = PP_MAGIC, .size = sizeof table, .major = PP_MAJOR, .minor = PP_MINOR, .name = "plays",
    .create = create, .destroy = destroy, .drain = drain, .open = open_, .feed = feed,
    .peer_finished = peer_finished, .writable = writable, .closed = closed, .timer = timer,
    .wake = wake,
};

const pp_plugin *polyport_plugin_v1(void) { return &table; }

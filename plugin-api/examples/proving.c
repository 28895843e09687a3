/* polyport.work/1: for each line a proof of work, on another thread; the session hears of it later. */
#include <stdlib.h>
#include <string.h>
#include <polyport_plugin.h>

struct peer {
  pp_session session;
  int is_owed; /* proved, and not said yet */
};

struct job {
  pp_session session;
  struct peer *peer;
  uint64_t steps;
};

static const pp_host_api *api;
static const pp_work_1 *work;

static pp_status create(const pp_host_api *given, pp_host *host, const pp_settings *settings,
                        void **instance, pp_text *error)
{
  (void)settings, (void)error;
  api = given;
  *instance = host;
  work = given->extension(host, PP_EXT_WORK);
  return work ? PP_OK : PP_E_UNSUPPORTED;
}

static pp_status open(void *host, pp_session session, const pp_session_info *info, void **state)
{
  struct peer *peer = calloc(1, sizeof *peer);
  (void)host, (void)info;
  if (!peer) return PP_E_FAIL;
  peer->session = session;
  *state = peer;
  return PP_OK;
}

static void closed(void *host, pp_session session, void *state, uint32_t why)
{
  (void)host, (void)session, (void)why;
  free(state);
}

static void run(void *arg) /* on a thread: it sees its job, and nothing of the instance */
{
  struct job *job = arg;
  for (uint32_t hash = 1; hash >> 12 != 0xabcde; job->steps++) hash = hash * 1664525 + 1013904223;
}

static void writable(void *host, pp_session session, void *state)
{
  struct peer *peer = state;
  if (!peer->is_owed || api->write(host, session, "proved\n", 7, 0) == PP_E_FULL) return;
  peer->is_owed = 0;
  api->pause(host, session, 0); /* what was not consumed is fed again */
}

static void done(void *host, uint64_t token, void *arg, pp_status status) /* on the loop again */
{
  struct job *job = arg;
  uint64_t bytes;
  (void)token;
  /* Whoever is not PP_E_GONE has not been told `closed`, so its state is there. */
  if (status == PP_OK && api->queued(host, job->session, &bytes) == PP_OK) {
    job->peer->is_owed = 1;
    writable(host, job->session, job->peer);
  }
  free(job);
}

static pp_status feed(void *host, pp_session session, void *state, const uint8_t *bytes, size_t n,
                      size_t *consumed)
{
  const uint8_t *end = memchr(bytes, '\n', n);
  if (!end) return PP_OK;
  struct job *job = calloc(1, sizeof *job);
  if (!job) return PP_E_FAIL;
  job->session = session;
  job->peer = state;
  if (work->submit(host, run, job, 0) != PP_OK) {
    free(job); /* it is ours again; and PP_E_BUSY is no reason for `feed` to say PP_E_FULL */
    return PP_E_FAIL;
  }
  *consumed = (size_t)(end - bytes) + 1;
  return api->pause(host, session, 1); /* one job a session at a time */
}

static const void *extension(const char *id)
{
  static const pp_work_sink_1 sink = {sizeof sink, 0, done};
  return strcmp(id, PP_EXT_WORK) == 0 ? &sink : NULL;
}

static const pp_plugin plugin = {
  .magic = PP_MAGIC, .size = sizeof plugin, .major = PP_MAJOR, .minor = PP_MINOR,
  .name = "proving", .version = "1.0.0", .extension = extension, .create = create,
  .open = open, .feed = feed, .writable = writable, .closed = closed,
};

const pp_plugin *polyport_plugin_v1(void) { return &plugin; }

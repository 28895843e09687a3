/* Jobs on threads: each byte of input is one job, and what came of it is written to its session, a
 * line each, once it is done. CASE_deaf has nobody to tell that a job is over. */
#include <polyport_plugin.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const pp_host_api *api;
static const pp_work_1 *work;
static pthread_t loop;

struct job {
  pp_host *host;
  pp_session session;
  char order;
  char text[64];
};

static pp_status create(const pp_host_api *given, pp_host *host, const pp_settings *settings,
                        void **instance, pp_text *error) {
  (void)settings, (void)error;
  api = given;
  loop = pthread_self();
  work = (const pp_work_1 *)api->extension(host, PP_EXT_WORK);
  *instance = host;
  return work != NULL && PP_HAS(pp_work_1, work, submit) ? PP_OK : PP_E_UNSUPPORTED;
}

static void run(void *arg) {
  struct job *job = arg;
  int elsewhere = !pthread_equal(pthread_self(), loop);
  pp_status write = api->write(job->host, job->session, "x", 1, 0);
  snprintf(job->text, sizeof job->text, "%c ran, elsewhere %d, write %d", job->order, elsewhere, write);
  if (job->order == 'f') api->fault(job->host, "a job's fault", 13);
  if (job->order == 'l') api->log(job->host, PP_LOG_WARNING, 0, "a job's line", 12);
  if (job->order == '!') *(volatile int *)(uintptr_t)16 = 1;
}

static void done(void *host, uint64_t token, void *arg, pp_status status) {
  struct job *job = arg;
  char line[128];
  int n = snprintf(line, sizeof line, "%d %d %s\n", (int)token, status, job->text);
  api->write(host, job->session, line, (size_t)n, 0);
  free(job);
}

static pp_status feed(void *host, pp_session session, void *state, const uint8_t *bytes, size_t n,
                      size_t *consumed) {
  (void)state;
  *consumed = n;
  for (size_t i = 0; i < n; i++) {
    struct job *job = calloc(1, sizeof *job);
    if (job == NULL) return PP_E_FAIL;
    job->host = host;
    job->session = session;
    job->order = (char)bytes[i];
    strcpy(job->text, "never ran");
    pp_status status = work->submit(host, bytes[i] == '0' ? NULL : run, job, i + 1);
    if (status != PP_OK) {
      char line[64];
      int length = snprintf(line, sizeof line, "%d refused %d\n", (int)i + 1, status);
      free(job);
      api->write(host, session, line, (size_t)length, 0);
    }
  }
  return PP_OK;
}

static const void *extension(const char *id) {
  static const pp_work_sink_1 sink = {sizeof(pp_work_sink_1), 0, done};
#if defined(CASE_deaf)
  (void)sink, (void)id;
  return NULL;
#else
  return strcmp(id, PP_EXT_WORK) == 0 ? &sink : NULL;
#endif
}

static const char *const required[] = {PP_EXT_WORK, NULL};

static const pp_plugin table = {
    .magic = PP_MAGIC,
    .size = sizeof(pp_plugin),
    .major = PP_MAJOR,
    .minor = PP_MINOR,
    .name = "works",
    .required_ext = required,
    .extension = extension,
    .create = create,
    .feed = feed,
};

const pp_plugin *polyport_plugin_v1(void) { return &table; }

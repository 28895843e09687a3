/* polyport.carry/1: numbers the lines of its peer, and goes on counting in the next worker. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <polyport_plugin.h>

enum { FORMAT = 1 }; /* another one for every change of what `export_session` writes */

static const pp_host_api *api;

static pp_status create(const pp_host_api *given, pp_host *host, const pp_settings *settings,
                        void **instance, pp_text *error)
{
  (void)settings, (void)error;
  api = given;
  *instance = host;
  return PP_OK;
}

static pp_status open(void *host, pp_session session, const pp_session_info *info, void **state)
{
  (void)host, (void)session, (void)info;
  *state = calloc(1, sizeof(uint64_t));
  return *state ? PP_OK : PP_E_FAIL;
}

static pp_status feed(void *host, pp_session session, void *state, const uint8_t *bytes, size_t n,
                      size_t *consumed)
{
  uint64_t *count = state, so_far = *count;
  size_t done = 0;
  for (const uint8_t *end; (end = memchr(bytes + done, '\n', n - done)) != NULL;) {
    char line[32];
    int length = snprintf(line, sizeof line, "%llu\n", (unsigned long long)++so_far);
    pp_status status = api->write(host, session, line, (size_t)length, 0);
    if (status != PP_OK) return status; /* PP_E_FULL takes all lines back, so none is counted yet */
    done = (size_t)(end - bytes) + 1;
  }
  *count = so_far;
  *consumed = done; /* the half of a line that is left is the host's to carry */
  return PP_OK;
}

static void closed(void *host, pp_session session, void *state, uint32_t why)
{
  (void)host, (void)session, (void)why; /* PP_END_CARRIED as well: here it has ended */
  free(state);
}

static pp_status export_session(void *host, pp_session session, void *state, uint8_t *into,
                                size_t capacity, size_t *written)
{
  (void)host, (void)session, (void)capacity; /* PP_CARRY_BYTES_MAX at least */
  memcpy(into, state, sizeof(uint64_t));
  *written = sizeof(uint64_t);
  return PP_OK;
}

/* A reason, cut to the room that there is for it. */
static void say(pp_text *into, const char *why)
{
  if (!into) return;
  into->len = strlen(why) < into->cap ? strlen(why) : into->cap;
  memcpy(into->ptr, why, into->len);
}

static pp_status import_session(void *host, pp_session session, const pp_session_info *info,
                                uint32_t format, const uint8_t *bytes, size_t n, void **state,
                                pp_text *why)
{
  if (format != FORMAT || n != sizeof(uint64_t)) { /* the other side may be any version, or worse */
    say(why, "written by a version that is not known here");
    return PP_E_FAIL;
  }
  pp_status status = open(host, session, info, state);
  if (status == PP_OK) memcpy(*state, bytes, n);
  return status;
}

static const void *extension(const char *id)
{
  static const pp_carry_1 carry = {sizeof carry, FORMAT, export_session, import_session};
  return strcmp(id, PP_EXT_CARRY) == 0 ? &carry : NULL;
}

static const pp_plugin plugin = {
  .magic = PP_MAGIC, .size = sizeof plugin, .major = PP_MAJOR, .minor = PP_MINOR,
  .name = "carrying", .version = "1.0.0", .extension = extension, .create = create,
  .open = open, .feed = feed, .closed = closed,
};

const pp_plugin *polyport_plugin_v1(void) { return &plugin; }

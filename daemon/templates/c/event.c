/* A sample in the event style: greets, gives each line back in capitals, and ends after an empty one.
 * All sessions share one thread, so nothing here may wait. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "polyport_plugin.h"

enum { LINE_BYTES_MAX = 1024 }; /* a longer line ends its session */

static const pp_host_api *api; /* one table per process, so instances may share it */

struct shout { /* what all sessions share */
  pp_host *host;
  char *greeting;
  size_t greeting_length;
};

struct session { /* what is remembered of one of them */
  unsigned lines;
};

static const pp_option options[] = {
  { .name = "greeting", .help = "What each peer is told first.", .default_text = "Hello",
    .kind = PP_KIND_TEXT },
};

static pp_status create(const pp_host_api *a, pp_host *host, const pp_settings *settings, void **instance,
                        pp_text *error)
{
  (void)error;
  pp_bytes greeting = PP_VALUE(settings, 0)->text;
  struct shout *shout = malloc(sizeof *shout);
  char *text = malloc(greeting.len + 2);
  if (!shout || !text) {
    free(shout);
    free(text);
    return PP_E_FAIL;
  }
  if (greeting.len > 0) memcpy(text, greeting.ptr, greeting.len);
  memcpy(text + greeting.len, "\r\n", 2);
  *shout = (struct shout){ .host = host, .greeting = text, .greeting_length = greeting.len + 2 };
  api = a;
  *instance = shout;
  return PP_OK;
}

static void destroy(void *instance)
{
  struct shout *shout = instance;
  free(shout->greeting);
  free(shout);
}

static pp_status open_session(void *instance, pp_session id, const pp_session_info *info, void **state)
{
  (void)info;
  struct shout *shout = instance;
  struct session *session = calloc(1, sizeof *session);
  if (!session) return PP_E_FAIL;
  pp_status status = api->write(shout->host, id, shout->greeting, shout->greeting_length, 0);
  if (status != PP_OK) {
    free(session); /* no `closed` follows */
    return status;
  }
  *state = session;
  return PP_OK;
}

static int is_empty(const uint8_t *line, size_t n)
{
  while (n > 0 && isspace(line[n - 1])) n--;
  return n == 0;
}

static pp_status say_back(pp_host *host, pp_session id, const uint8_t *line, size_t n)
{
  char answer[256];
  while (n > 0) {
    size_t count = n < sizeof answer ? n : sizeof answer;
    for (size_t i = 0; i < count; i++) answer[i] = (char)toupper(line[i]);
    pp_status status = api->write(host, id, answer, count, 0);
    if (status != PP_OK) return status;
    line += count;
    n -= count;
  }
  return PP_OK;
}

/* If a write finds no room, PP_E_FULL gives all of this call back and it is made again: so what is
 * remembered changes only after the last write. */
static pp_status feed(void *instance, pp_session id, void *state, const uint8_t *bytes, size_t n,
                      size_t *consumed)
{
  pp_host *host = ((struct shout *)instance)->host;
  struct session *session = state;
  unsigned lines = session->lines;
  const uint8_t *at = bytes, *end = bytes + n, *newline;
  while (at < end && (newline = memchr(at, '\n', (size_t)(end - at)))) {
    size_t length = (size_t)(newline + 1 - at);
    if (is_empty(at, length)) {
      char bye[64];
      int count = snprintf(bye, sizeof bye, "%u lines. Bye.\r\n", lines);
      pp_status status = api->write(host, id, bye, (size_t)count, 0);
      if (status != PP_OK) return status;
      *consumed = (size_t)(newline + 1 - bytes);
      return api->close(host, id, PP_CLOSE_FINISH, "an empty line", strlen("an empty line"));
    }
    pp_status status = say_back(host, id, at, length);
    if (status != PP_OK) return status;
    at += length;
    lines++;
  }
  session->lines = lines;
  *consumed = (size_t)(at - bytes); /* the rest comes again, with more behind it */
  if (end - at > LINE_BYTES_MAX) {
    *consumed = n;
    return api->close(host, id, PP_CLOSE_FINISH, "a line is too long", strlen("a line is too long"));
  }
  return PP_OK;
}

static void closed(void *instance, pp_session id, void *state, uint32_t why)
{
  (void)instance; (void)id; (void)why;
  free(state);
}

static const pp_plugin plugin = {
  .magic = PP_MAGIC, .size = sizeof plugin, .major = PP_MAJOR, .minor = PP_MINOR,
  .name = "@NAME@", .version = "0.1.0",
  .options = options, .option_count = 1, .option_stride = sizeof(pp_option),
  .create = create, .destroy = destroy, .open = open_session, .feed = feed, .closed = closed,
};

const pp_plugin *polyport_plugin_v1(void) { return &plugin; }

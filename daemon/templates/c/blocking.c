/* A sample in the blocking style: greets, gives each line back in capitals, and ends after an empty one.
 * Each session has a thread of its own, which may wait; what they share needs a lock. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "polyport_plugin.h"

enum { LINE_BYTES_MAX = 1024, PATIENCE_MS = 60000 };

struct shout { /* what all sessions share: nobody changes it after `create` */
  char *greeting;
  size_t greeting_length;
};

static const pp_option options[] = {
  { .name = "greeting", .help = "What each peer is told first.", .default_text = "Hello",
    .kind = PP_KIND_TEXT },
};

static pp_status create(const pp_host_api *api, pp_host *host, const pp_settings *settings, void **instance,
                        pp_text *error)
{
  (void)api; (void)host; (void)error;
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
  *shout = (struct shout){ .greeting = text, .greeting_length = greeting.len + 2 };
  *instance = shout;
  return PP_OK;
}

static void destroy(void *instance)
{
  struct shout *shout = instance;
  free(shout->greeting);
  free(shout);
}

static int is_empty(const char *line, size_t n)
{
  while (n > 0 && isspace((unsigned char)line[n - 1])) n--;
  return n == 0;
}

/* Answers all complete lines of the buffer; *done is set after an empty one. */
static pp_status answer(const pp_stream *stream, char *buffer, size_t *length, unsigned *lines, int *done)
{
  char *newline;
  while (!*done && (newline = memchr(buffer, '\n', *length))) {
    size_t n = (size_t)(newline + 1 - buffer);
    pp_status status;
    if (is_empty(buffer, n)) {
      char bye[64];
      int count = snprintf(bye, sizeof bye, "%u lines. Bye.\r\n", *lines);
      status = stream->write(stream->inner, bye, (size_t)count, 0);
      *done = 1;
    } else {
      for (size_t i = 0; i < n; i++) buffer[i] = (char)toupper((unsigned char)buffer[i]);
      status = stream->write(stream->inner, buffer, n, 0);
      (*lines)++;
    }
    if (status != PP_OK) return status;
    *length -= n;
    memmove(buffer, buffer + n, *length);
  }
  return PP_OK;
}

static pp_status serve(void *instance, const pp_stream *stream, const pp_session_info *info)
{
  (void)info;
  const struct shout *shout = instance;
  char buffer[LINE_BYTES_MAX];
  size_t length = 0, got = 1;
  unsigned lines = 0;
  int done = 0;
  pp_status status = stream->write(stream->inner, shout->greeting, shout->greeting_length, 0);
  /* Until an empty line, the end of the peer's stream, a line too long, or a call that says why not. */
  while (status == PP_OK && !done && got > 0 && length < sizeof buffer) {
    status = stream->deadline(stream->inner, PATIENCE_MS);
    if (status == PP_OK)
      status = stream->read(stream->inner, buffer + length, sizeof buffer - length, 0, &got);
    if (status != PP_OK) break;
    length += got;
    status = answer(stream, buffer, &length, &lines, &done);
  }
  return status;
}

static const pp_blocking_1 blocking = { .size = sizeof blocking, .serve = serve };

static const void *extension(const char *id)
{
  return strcmp(id, PP_EXT_BLOCKING) == 0 ? &blocking : NULL;
}

static const pp_plugin plugin = {
  .magic = PP_MAGIC, .size = sizeof plugin, .major = PP_MAJOR, .minor = PP_MINOR,
  .name = "@NAME@", .version = "0.1.0",
  .options = options, .option_count = 1, .option_stride = sizeof(pp_option),
  .extension = extension, .create = create, .destroy = destroy,
};

const pp_plugin *polyport_plugin_v1(void) { return &plugin; }

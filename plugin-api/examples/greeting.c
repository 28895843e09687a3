/* polyport.needs/1: greets with a file that the administrator names, and may read nothing else. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <polyport_plugin.h>

struct greeting {
  pp_host *host;
  size_t length;
  char text[4096];
};

static const pp_host_api *api;

static const pp_option options[] = {
  { .name = "file", .help = "What everybody is greeted with.", .kind = PP_KIND_TEXT },
};

/* A reason, cut to the room that there is for it. */
static void say(pp_text *into, const char *why)
{
  if (!into) return;
  into->len = strlen(why) < into->cap ? strlen(why) : into->cap;
  memcpy(into->ptr, why, into->len);
}

static pp_status create(const pp_host_api *given, pp_host *host, const pp_settings *settings,
                        void **instance, pp_text *error)
{
  char path[1024];
  pp_bytes written = PP_VALUE(settings, 0)->text;
  struct greeting *greeting = calloc(1, sizeof *greeting);
  if (!greeting) return PP_E_FAIL;
  api = given;
  greeting->host = host;
  snprintf(path, sizeof path, "%.*s", (int)written.len, (const char *)written.ptr);
  FILE *file = fopen(path, "r"); /* only here: by now the sandbox is closed, but for what was asked for */
  if (!file) {
    free(greeting);
    say(error, "file: it cannot be read");
    return PP_E_CONFIG;
  }
  greeting->length = fread(greeting->text, 1, sizeof greeting->text, file);
  fclose(file);
  *instance = greeting;
  return PP_OK;
}

static pp_status open(void *instance, pp_session session, const pp_session_info *info, void **state)
{
  struct greeting *greeting = instance;
  (void)info, (void)state;
  return api->write(greeting->host, session, greeting->text, greeting->length, 0);
}

static pp_status feed(void *instance, pp_session session, void *state, const uint8_t *bytes, size_t n,
                      size_t *consumed)
{
  (void)instance, (void)session, (void)state, (void)bytes;
  *consumed = n; /* nobody listens */
  return PP_OK;
}

static const void *extension(const char *id)
{
  static const char *const read[] = {"$file", NULL}; /* the value of that option */
  static const pp_needs_1 needs = {sizeof needs, 0, read, NULL};
  return strcmp(id, PP_EXT_NEEDS) == 0 ? &needs : NULL;
}

static const pp_plugin plugin = {
  .magic = PP_MAGIC, .size = sizeof plugin, .major = PP_MAJOR, .minor = PP_MINOR,
  .name = "greeting", .version = "1.0.0",
  .options = options, .option_count = 1, .option_stride = sizeof(pp_option),
  .extension = extension, .create = create, .destroy = free, .open = open, .feed = feed,
};

const pp_plugin *polyport_plugin_v1(void) { return &plugin; }

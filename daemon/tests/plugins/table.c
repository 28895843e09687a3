/* A plugin that is refused before any of its callbacks runs: built once per CASE_x, each of which
 * breaks one thing that the handshake looks at. Without a case it is accepted. */
#include <polyport_plugin.h>
#include <string.h>

#define MAYBE_UNUSED __attribute__((unused)) /* by some of the cases */

MAYBE_UNUSED static pp_status feed(void *instance, pp_session session, void *state, const uint8_t *bytes, size_t n,
                      size_t *consumed) {
  (void)instance, (void)session, (void)state, (void)bytes;
  *consumed = n;
  return PP_OK;
}

MAYBE_UNUSED static const pp_option good[] = {
    {"mode", "How to answer.", "stream", "stream|line", 0, 0, PP_KIND_TEXT, 0},
};

#define MAGIC PP_MAGIC
#define SIZE sizeof(pp_plugin)
#define MAJOR PP_MAJOR
#define MIN_HOST_MINOR 0
#define RESERVED 0
#define FLAGS 0
#define NAME "table"
#define OPTIONS good
#define OPTION_COUNT 1
#define OPTION_STRIDE sizeof(pp_option)
#define REQUIRED NULL
#define EXTENSION NULL
#define FEED feed
#define DATAGRAM NULL
#define REFUSAL NULL
#define REFUSAL_LENGTH 0

#if defined(CASE_bad_magic)
#undef MAGIC
#define MAGIC 0x12345678u
#elif defined(CASE_other_major)
#undef MAJOR
#define MAJOR 7
#elif defined(CASE_newer_minor)
#undef MIN_HOST_MINOR
#define MIN_HOST_MINOR 9
#elif defined(CASE_short_table)
#undef SIZE
#define SIZE 120
#elif defined(CASE_shorter_than_its_head)
#undef SIZE
#define SIZE 8
#elif defined(CASE_absurd_size)
#undef SIZE
#define SIZE 0x10000000u
#elif defined(CASE_unknown_flags)
#undef FLAGS
#define FLAGS 0x8000000000000001u
#elif defined(CASE_reserved)
#undef RESERVED
#define RESERVED 3
#elif defined(CASE_missing_extension)
static const char *const required[] = {"polyport.future/3", NULL};
#undef REQUIRED
#define REQUIRED required
#elif defined(CASE_requires_metrics)
static const char *const required[] = {PP_EXT_METRICS, NULL};
#undef REQUIRED
#define REQUIRED required
#elif defined(CASE_required_endless)
#define TEN "a/1", "a/1", "a/1", "a/1", "a/1", "a/1", "a/1", "a/1", "a/1", "a/1"
static const char *const required[] = {TEN, TEN, TEN, TEN, TEN, TEN, TEN, NULL};
#undef REQUIRED
#define REQUIRED required
#elif defined(CASE_name_endless)
#define WORD "sixteen letters!"
#define WORDS WORD WORD WORD WORD WORD WORD WORD WORD
#undef NAME
#define NAME WORDS WORDS WORDS WORDS WORDS WORDS WORDS WORDS WORDS
#elif defined(CASE_option_stride_odd)
#undef OPTION_STRIDE
#define OPTION_STRIDE (sizeof(pp_option) + 1)
#elif defined(CASE_option_stride_huge)
#undef OPTION_STRIDE
#define OPTION_STRIDE 0xfffffff8u
#elif defined(CASE_option_nameless)
static const pp_option odd[] = {{NULL, NULL, NULL, NULL, 0, 0, PP_KIND_TEXT, 0}};
#undef OPTIONS
#define OPTIONS odd
#elif defined(CASE_option_flags)
static const pp_option odd[] = {{"mode", "Odd.", "", NULL, 0, 0, PP_KIND_TEXT, 6}};
#undef OPTIONS
#define OPTIONS odd
#elif defined(CASE_option_bounds)
static const pp_option odd[] = {{"most", "Odd.", "1", NULL, 9, 1, PP_KIND_INTEGER, 0}};
#undef OPTIONS
#define OPTIONS odd
#elif defined(CASE_option_choices)
static const pp_option odd[] = {{"most", "Odd.", "1", "1|2", 0, 0, PP_KIND_INTEGER, 0}};
#undef OPTIONS
#define OPTIONS odd
#elif defined(CASE_needs_short)
static const pp_needs_1 needs = {4, 0, NULL, NULL};
#define ANY needs
#define ANY_ID PP_EXT_NEEDS
#elif defined(CASE_needs_flags)
static const pp_needs_1 needs = {sizeof needs, 0x80, NULL, NULL};
#define ANY needs
#define ANY_ID PP_EXT_NEEDS
#elif defined(CASE_needs_relative)
static const char *const files[] = {"../../etc/shadow", NULL};
static const pp_needs_1 needs = {sizeof needs, 0, NULL, files};
#define ANY needs
#define ANY_ID PP_EXT_NEEDS
#elif defined(CASE_carry_short)
static const pp_carry_1 carry = {0, 1, NULL, NULL};
#define CARRY carry
#elif defined(CASE_work_short)
static const pp_work_sink_1 sink = {15, 0, NULL};
#define ANY sink
#define ANY_ID PP_EXT_WORK
#elif defined(CASE_bus_short)
static const pp_bus_sink_1 sink = {56, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL};
#define ANY sink
#define ANY_ID PP_EXT_BUS
#elif defined(CASE_bus_holes)
static const pp_bus_sink_1 sink = {sizeof sink, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL};
#define ANY sink
#define ANY_ID PP_EXT_BUS
#elif defined(CASE_answers_all)
/* One table, whatever it was asked for. */
static const pp_needs_1 all = {sizeof all, 0, NULL, NULL};
static const void *extension(const char *id) {
  (void)id;
  return &all;
}
#undef EXTENSION
#define EXTENSION extension
#elif defined(CASE_no_way_in)
#undef FEED
#define FEED NULL
#elif defined(CASE_datagrams_only)
#undef FEED
#define FEED NULL
#undef DATAGRAM
#define DATAGRAM datagram
static pp_status datagram(void *instance, const pp_datagram *from, const uint8_t *bytes, size_t n) {
  (void)instance, (void)from, (void)bytes, (void)n;
  return PP_OK;
}
#elif defined(CASE_no_name)
#undef NAME
#define NAME NULL
#elif defined(CASE_name_not_utf8)
#undef NAME
#define NAME "\xff\xfe"
#elif defined(CASE_name_moves_cursor)
#undef NAME
#define NAME "e\x1b[2Jvil"
#elif defined(CASE_option_stride)
#undef OPTION_STRIDE
#define OPTION_STRIDE 12
#elif defined(CASE_option_null)
#undef OPTIONS
#define OPTIONS NULL
#elif defined(CASE_option_many)
#undef OPTION_COUNT
#define OPTION_COUNT 100000
#elif defined(CASE_option_twice)
static const pp_option twice[] = {
    {"mode", "One.", "", NULL, 0, 0, PP_KIND_TEXT, 0},
    {"mode", "Two.", "", NULL, 0, 0, PP_KIND_TEXT, 0},
};
#undef OPTIONS
#define OPTIONS twice
#undef OPTION_COUNT
#define OPTION_COUNT 2
#elif defined(CASE_option_kind)
static const pp_option odd[] = {{"mode", "Odd.", "", NULL, 0, 0, 99, 0}};
#undef OPTIONS
#define OPTIONS odd
#elif defined(CASE_option_default)
static const pp_option odd[] = {{"idle", "Odd.", "soon", NULL, 0, 0, PP_KIND_DURATION, 0}};
#undef OPTIONS
#define OPTIONS odd
#elif defined(CASE_bad_needs)
static const char *const files[] = {"$root", NULL};
static const pp_needs_1 needs = {sizeof(pp_needs_1), 0, files, NULL};
static const void *extension(const char *id) {
  return strcmp(id, PP_EXT_NEEDS) == 0 ? &needs : NULL;
}
#undef EXTENSION
#define EXTENSION extension
#elif defined(CASE_blocking_short)
static const pp_blocking_1 blocking = {8, 0, NULL, NULL};
#define BLOCKING blocking
#elif defined(CASE_carry_without_format)
static const pp_carry_1 carry = {sizeof carry, 0, NULL, NULL};
#define CARRY carry
#elif defined(CASE_carry_one_way)
static const pp_carry_1 carry = {sizeof carry, 1, NULL, NULL};
#define CARRY carry
#elif defined(CASE_blocking_empty)
static const pp_blocking_1 blocking = {sizeof blocking, 0, NULL, NULL};
#define BLOCKING blocking
#elif defined(CASE_blocking_and_feed)
static pp_status serve(void *instance, const pp_stream *stream, const pp_session_info *info) {
  (void)instance, (void)stream, (void)info;
  return PP_OK;
}
static const pp_blocking_1 blocking = {sizeof blocking, 0, serve, NULL};
#define BLOCKING blocking
#elif defined(CASE_blocking_and_datagram)
static pp_status datagram(void *instance, const pp_datagram *from, const uint8_t *bytes, size_t n) {
  (void)instance, (void)from, (void)bytes, (void)n;
  return PP_OK;
}
static const pp_blocking_1 blocking = {sizeof blocking, 0, NULL, datagram};
#define BLOCKING blocking
#undef DATAGRAM
#define DATAGRAM datagram
#elif defined(CASE_refusal)
#undef REFUSAL
#define REFUSAL "not \0now"
#undef REFUSAL_LENGTH
#define REFUSAL_LENGTH 8
#elif defined(CASE_refusal_long)
static const char words[PP_REFUSAL_MAX + 1];
#undef REFUSAL
#define REFUSAL words
#undef REFUSAL_LENGTH
#define REFUSAL_LENGTH sizeof words
#elif defined(CASE_work_empty)
static const pp_work_sink_1 sink = {sizeof sink, 0, NULL};
static const void *extension(const char *id) {
  return strcmp(id, PP_EXT_WORK) == 0 ? &sink : NULL;
}
#undef EXTENSION
#define EXTENSION extension
#endif

#if defined(ANY)
static const void *extension(const char *id) {
  return strcmp(id, ANY_ID) == 0 ? &ANY : NULL;
}
#undef EXTENSION
#define EXTENSION extension
#endif

#if defined(CARRY)
static const void *extension(const char *id) {
  return strcmp(id, PP_EXT_CARRY) == 0 ? &CARRY : NULL;
}
#undef EXTENSION
#define EXTENSION extension
#endif

#if defined(BLOCKING)
static const void *extension(const char *id) {
  return strcmp(id, PP_EXT_BLOCKING) == 0 ? &BLOCKING : NULL;
}
#undef EXTENSION
#define EXTENSION extension
#endif

MAYBE_UNUSED static const pp_plugin table = {
    .magic = MAGIC,
    .size = SIZE,
    .major = MAJOR,
    .minor = PP_MINOR,
    .min_host_minor = MIN_HOST_MINOR,
    .reserved0 = RESERVED,
    .flags = FLAGS,
    .name = NAME,
    .version = "1.0.0",
    .options = OPTIONS,
    .option_count = OPTION_COUNT,
    .option_stride = OPTION_STRIDE,
    .required_ext = REQUIRED,
    .extension = EXTENSION,
    .feed = FEED,
    .datagram = DATAGRAM,
    .refusal = REFUSAL,
    .refusal_length = REFUSAL_LENGTH,
};

#if defined(CASE_no_symbol)
const pp_plugin *some_other_symbol(void);
const pp_plugin *some_other_symbol(void) { return &table; }
#elif defined(CASE_other_symbol)
const pp_plugin *polyport_plugin_v3(void);
const pp_plugin *polyport_plugin_v3(void) { return &table; }
#elif defined(CASE_before_the_freeze)
const pp_plugin *polyport_plugin_v0(void);
const pp_plugin *polyport_plugin_v0(void) { return &table; }
#elif defined(CASE_null)
const pp_plugin *polyport_plugin_v1(void) { return NULL; }
#elif defined(CASE_missing_function)
void nobody_has_this(void);
const pp_plugin *polyport_plugin_v1(void) {
  nobody_has_this();
  return &table;
}
#else
const pp_plugin *polyport_plugin_v1(void) { return &table; }
#endif

/*
 * sseload: the load client of the benchmark. One thread, one epoll set, thousands of SSE connections.
 *
 * A client written in Python would be the slowest part of every cell; this one costs about 2 us an event. It decodes
 * the HTTP/1.1 head and the chunked framing, finds the producer's marker in the payload and keeps, for each
 * connection, the next index it expects. So loss, duplicates and order are counted, not inferred from a rate.
 *
 * Marker: "@T" + 16 digits (CLOCK_MONOTONIC microseconds at the producer) + 8 digits (index within the session) + "@".
 *
 * Modes
 *   live    wait for what is published; ends when every reading connection has --events, or on "stop"
 *   idle    hold the connections until "stop"
 *   replay  the time from sending the request to the arrival of event number --events; --repeat waves, each one
 *          session further on, so that as many sessions as waves means that no wave finds a warm one
 *   churn   open, read the head, close, --total times with --connections at once
 *
 * Control, on standard input, one command a line: "window FROM TO" (microseconds, CLOCK_MONOTONIC: deliveries in
 * between are counted apart), "stop". On standard output: one "ready" JSON line once every connection has its
 * response head, one result JSON line at the end. Latencies leave as a histogram; percentiles are the harness' task.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { STAMP_DIGITS = 16, INDEX_DIGITS = 8, MARKER_DIGITS = STAMP_DIGITS + INDEX_DIGITS };
enum { SUB_BITS = 7, SUB = 1 << SUB_BITS, BUCKETS = 48 * SUB }; /* 0.8 % wide at most */
enum { READ_BYTES = 256 * 1024, EPOLL_BATCH = 1024, HEAD_BYTES = 4096, LINE_BYTES = 32 };
enum { CONNECT_WINDOW = 64 }; /* heads awaited at once while connecting: below any server's backlog */
enum { SPREAD_PER_ADDRESS = 20000 };

typedef enum { CLOSED, CONNECTING, HEAD, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, RAW, STALLED } phase_t;
typedef enum { LIVE, IDLE, REPLAY, CHURN } work_t;

typedef struct {
  int fd;
  phase_t phase;
  uint32_t session;
  uint32_t next;      /* the index expected next */
  uint32_t received;  /* markers seen */
  bool counted;       /* its head (or its failure) has been counted */
  bool done;          /* has all it was to get */
  uint64_t asked_us;  /* when the request was sent */
  uint64_t chunk_left;
  uint64_t digits_hi, digits_lo; /* stamp and index being read */
  uint8_t marker;     /* 0: outside, 1: after '@', 2 + n: n digits read */
  uint8_t line_used;
  char line[LINE_BYTES]; /* chunk size line, or the last bytes of the head */
} conn_t;

static struct {
  const char *host, *path, *header;
  char **paths; /* one per session, where a path is more than its number (a token) */
  int port, connections, sessions, first, stall, repeat, total;
  uint32_t events, skip;
  bool spread;
  work_t work;
} opt = {.host = "127.0.0.1", .path = "/%d", .header = "", .sessions = 1, .repeat = 1};

static conn_t *conns;
static int epoll_fd;
static uint64_t hist[BUCKETS];
static uint64_t window_from = UINT64_MAX, window_to = 0, window_events;
static uint64_t total_events, total_bytes, duplicates, gaps, lost_connections, refused, failed, established;
static uint64_t first_us, last_us;
static int pending_heads, next_to_open, done_count, churned, wave;
static bool stop_asked, announced;

static void die(const char *what) {
  fprintf(stderr, "sseload: %s: %s\n", what, strerror(errno));
  exit(1);
}

static uint64_t now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static void record(uint64_t us) {
  unsigned index = (unsigned)us;
  if (us >= SUB) {
    int shift = 63 - __builtin_clzll(us) - SUB_BITS;
    index = (unsigned)(shift + 1) * SUB + (unsigned)((us >> shift) - SUB);
  }
  hist[index < BUCKETS ? index : BUCKETS - 1]++;
}

/* ---- one connection ---------------------------------------------------------------------------------------- */

static void hang_up(conn_t *c, bool reset) {
  if (reset) {
    struct linger l = {.l_onoff = 1, .l_linger = 0};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
  }
  close(c->fd);
  c->phase = CLOSED;
}

/* The head arrived or never will: either way somebody else may connect. */
static void settle(conn_t *c, bool ok) {
  if (c->counted) return;
  c->counted = true;
  pending_heads--;
  if (ok) established++;
}

static void finish(conn_t *c) {
  if (c->done) return;
  c->done = true;
  done_count++;
}

static void open_connection(conn_t *c, int number) {
  uint32_t session = (uint32_t)((number + wave) % opt.sessions);
  bool stalled = number < opt.stall;
  memset(c, 0, sizeof *c);
  c->session = session;
  pending_heads++;
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (c->fd < 0) die("socket");
  int one = 1;
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (stalled) {
    int small = 4096; /* the kernel doubles it: a viewer that stopped reading holds no megabytes for the server */
    setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    int segment = 536; /* loopback's 64 KiB segments would let the server's kernel take megabytes for it */
    setsockopt(c->fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
  }
  if (opt.spread) { /* more connections than one source address has ports */
    struct sockaddr_in from = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(0x7f000001u + ((uint32_t)(number / SPREAD_PER_ADDRESS) << 8));
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(c->fd, (struct sockaddr *)&from, sizeof from) != 0) die("bind");
  }
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port)};
  if (inet_pton(AF_INET, opt.host, &to.sin_addr) != 1) die("host must be an IPv4 address");
  c->phase = CONNECTING;
  if (connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0 && errno != EINPROGRESS) {
    failed++;
    settle(c, false);
    finish(c);
    hang_up(c, false);
    return;
  }
  struct epoll_event e = {.events = EPOLLOUT, .data.ptr = c};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &e) != 0) die("epoll_ctl");
}

static void fail(conn_t *c) {
  failed++;
  settle(c, false);
  finish(c);
  hang_up(c, false);
}

static void send_request(conn_t *c) {
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) {
    fail(c);
    return;
  }
  char path[2048], request[4096];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
  if (opt.paths) snprintf(path, sizeof path, "%s", opt.paths[c->session]);
  else snprintf(path, sizeof path, opt.path, (uint32_t)opt.first + c->session);
#pragma GCC diagnostic pop
  int length = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n%.1500s%s\r\n", path, opt.header,
                        opt.header[0] ? "\r\n" : "");
  c->asked_us = now_us();
  if (write(c->fd, request, (size_t)length) != length) {
    fail(c);
    return;
  }
  if ((int)(c - conns) < opt.stall) { /* from here on nobody looks at this socket again */
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
    c->phase = STALLED;
    settle(c, true);
    finish(c);
    return;
  }
  c->phase = HEAD;
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
  epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
}

/* ---- what a connection reads ------------------------------------------------------------------------------- */

static void marker_seen(conn_t *c, uint64_t at) {
  uint64_t stamp = c->digits_hi;
  uint32_t index = (uint32_t)c->digits_lo;
  total_events++;
  c->received++;
  if (index < c->next) duplicates++;
  else {
    gaps += index - c->next;
    c->next = index + 1;
  }
  if (at >= window_from && at < window_to) window_events++;
  if (opt.work == LIVE && index >= opt.skip) {
    if (first_us == 0) first_us = at;
    last_us = at;
    record(at > stamp ? at - stamp : 1);
  }
  if (opt.events && c->next >= opt.events && !c->done) {
    if (opt.work == REPLAY) record(at - c->asked_us);
    last_us = at;
    finish(c);
  }
}

static void scan(conn_t *c, const char *p, const char *end, uint64_t at) {
  while (p < end) {
    if (c->marker == 0) {
      p = memchr(p, '@', (size_t)(end - p));
      if (p == NULL) return;
      p++;
      c->marker = 1;
      continue;
    }
    char ch = *p++;
    if (c->marker == 1) {
      c->marker = ch == 'T' ? 2 : ch == '@' ? 1 : 0;
      c->digits_hi = c->digits_lo = 0;
      continue;
    }
    int digits = c->marker - 2;
    if (ch >= '0' && ch <= '9' && digits < MARKER_DIGITS) {
      uint64_t *half = digits < STAMP_DIGITS ? &c->digits_hi : &c->digits_lo;
      *half = *half * 10 + (uint64_t)(ch - '0');
      c->marker++;
      continue;
    }
    if (ch == '@' && digits == MARKER_DIGITS) marker_seen(c, at);
    c->marker = ch == '@' && digits != MARKER_DIGITS ? 1 : 0;
  }
}

/* Reads the head within one buffer's worth of bytes; true once it is complete and the status is 200. */
static const char *take_head(conn_t *c, char *p, char *end) {
  char *stop = memmem(p, (size_t)(end - p), "\r\n\r\n", 4);
  if (stop == NULL) {
    /* A head in two segments: no peer does it on loopback, so it counts as refused rather than being guessed at. */
    refused++;
    return NULL;
  }
  *stop = 0;
  if (strncmp(p, "HTTP/1.1 200", 12) != 0) {
    if (refused == 0) fprintf(stderr, "sseload: refused: %.40s\n", p);
    refused++;
    return NULL;
  }
  c->phase = strcasestr(p, "\r\ntransfer-encoding: chunked") ? CHUNK_SIZE : RAW;
  settle(c, true);
  return stop + 4;
}

static void take_body(conn_t *c, const char *p, const char *end, uint64_t at) {
  while (p < end) {
    switch (c->phase) {
      case RAW:
        scan(c, p, end, at);
        return;
      case CHUNK_SIZE:
        if (*p == '\n') {
          c->line[c->line_used] = 0;
          c->chunk_left = strtoull(c->line, NULL, 16);
          c->line_used = 0;
          c->phase = c->chunk_left ? CHUNK_DATA : RAW; /* after the last chunk nothing follows that matters */
        } else if (c->line_used < LINE_BYTES - 1) c->line[c->line_used++] = *p;
        p++;
        break;
      case CHUNK_DATA: {
        size_t have = (size_t)(end - p);
        if (have > c->chunk_left) have = c->chunk_left;
        scan(c, p, p + have, at);
        p += have;
        c->chunk_left -= have;
        if (c->chunk_left == 0) c->phase = CHUNK_END;
        break;
      }
      case CHUNK_END:
        if (*p++ == '\n') c->phase = CHUNK_SIZE;
        break;
      default:
        return;
    }
  }
}

static void churn_next(conn_t *c) {
  record(now_us() - c->asked_us);
  churned++;
  hang_up(c, churned % 2 == 0); /* both ways a browser leaves: FIN and RST */
  if (next_to_open < opt.total) open_connection(c, next_to_open++);
}

static void readable(conn_t *c) {
  static char buffer[READ_BYTES + 1];
  ssize_t got = read(c->fd, buffer, READ_BYTES);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    if (c->phase == HEAD) {
      fail(c);
      return;
    }
    lost_connections++;
    finish(c);
    hang_up(c, false);
    return;
  }
  uint64_t at = now_us();
  total_bytes += (uint64_t)got;
  const char *p = buffer, *end = buffer + got;
  if (c->phase == HEAD) {
    p = take_head(c, buffer, buffer + got);
    if (p == NULL) {
      settle(c, false);
      finish(c);
      hang_up(c, false);
      return;
    }
    if (opt.work == CHURN) {
      churn_next(c);
      return;
    }
  }
  take_body(c, p, end, at);
}

/* ---- the loop ---------------------------------------------------------------------------------------------- */

static void control(void) {
  char text[512];
  ssize_t got = read(STDIN_FILENO, text, sizeof text - 1);
  if (got <= 0) {
    stop_asked = true;
    return;
  }
  text[got] = 0;
  for (char *save = NULL, *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
    unsigned long long from, to;
    if (strcmp(l, "stop") == 0) stop_asked = true;
    else if (sscanf(l, "window %llu %llu", &from, &to) == 2) {
      window_from = from;
      window_to = to;
    }
  }
}

static void announce(uint64_t began) {
  announced = true;
  printf("{\"ready\": %llu, \"failed\": %llu, \"refused\": %llu, \"connect_seconds\": %.3f}\n",
         (unsigned long long)established, (unsigned long long)failed, (unsigned long long)refused,
         (double)(now_us() - began) / 1e6);
  fflush(stdout);
}

static void turn(void) {
  struct epoll_event ready[EPOLL_BATCH];
  int count = epoll_wait(epoll_fd, ready, EPOLL_BATCH, 50);
  for (int i = 0; i < count; i++) {
    conn_t *c = ready[i].data.ptr;
    if (c == NULL) control();
    else if (c->phase == CONNECTING) send_request(c);
    else if (c->phase != CLOSED) readable(c);
  }
}

static void open_some(int count) {
  int window = opt.work == CHURN || opt.work == REPLAY ? count : CONNECT_WINDOW;
  while (next_to_open < count && pending_heads < window) {
    open_connection(&conns[next_to_open], next_to_open);
    next_to_open++;
  }
}

static void run_waves(void) {
  printf("{\"waves_us\": [");
  for (wave = 0; wave < opt.repeat && !stop_asked; wave++) {
    next_to_open = done_count = pending_heads = 0;
    last_us = 0;
    uint64_t start = now_us();
    while (done_count < opt.connections && !stop_asked) {
      open_some(opt.connections);
      turn();
    }
    printf("%s%llu", wave ? ", " : "", (unsigned long long)(last_us > start ? last_us - start : 0));
    for (int i = 0; i < opt.connections; i++)
      if (conns[i].phase != CLOSED) hang_up(&conns[i], false);
  }
  printf("], ");
}

static void run_live(void) {
  uint64_t began = now_us();
  while (!stop_asked) {
    open_some(opt.connections);
    turn();
    if (!announced && next_to_open == opt.connections && pending_heads == 0) announce(began);
    if (opt.work == LIVE && announced && opt.events && done_count == opt.connections) break;
  }
  printf("{");
}

static void run_churn(void) {
  uint64_t began = now_us();
  open_some(opt.connections < opt.total ? opt.connections : opt.total);
  while (!stop_asked && churned + (int)(failed + refused) < opt.total) turn();
  printf("{\"seconds\": %.3f, ", (double)(now_us() - began) / 1e6);
}

static void report(void) {
  uint32_t least = UINT32_MAX, most = 0;
  for (int i = opt.stall; i < opt.connections; i++) {
    if (conns[i].received < least) least = conns[i].received;
    if (conns[i].received > most) most = conns[i].received;
  }
  struct rusage use;
  getrusage(RUSAGE_SELF, &use);
  printf("\"connections\": %d, \"stalled\": %d, \"established\": %llu, \"failed\": %llu, \"refused\": %llu, "
         "\"closed\": %llu, \"events\": %llu, \"duplicates\": %llu, \"gaps\": %llu, \"window_events\": %llu, "
         "\"bytes\": %llu, \"first_us\": %llu, \"last_us\": %llu, \"least\": %u, \"most\": %u, \"churned\": %d, "
         "\"cpu_seconds\": %.3f, \"histogram\": [",
         opt.connections, opt.stall, (unsigned long long)established, (unsigned long long)failed,
         (unsigned long long)refused, (unsigned long long)lost_connections, (unsigned long long)total_events,
         (unsigned long long)duplicates, (unsigned long long)gaps, (unsigned long long)window_events,
         (unsigned long long)total_bytes, (unsigned long long)first_us, (unsigned long long)last_us,
         least == UINT32_MAX ? 0 : least, most, churned,
         (double)use.ru_utime.tv_sec + (double)use.ru_utime.tv_usec / 1e6 + (double)use.ru_stime.tv_sec +
             (double)use.ru_stime.tv_usec / 1e6);
  bool first = true;
  for (unsigned i = 0; i < BUCKETS; i++)
    if (hist[i]) {
      printf("%s[%u, %llu]", first ? "" : ", ", i, (unsigned long long)hist[i]);
      first = false;
    }
  printf("]}\n");
}

static void read_paths(const char *file) {
  FILE *f = fopen(file, "r");
  char line[2048];
  int used = 0;
  opt.paths = calloc((size_t)opt.sessions, sizeof *opt.paths);
  if (f == NULL || opt.paths == NULL) die(file);
  while (used < opt.sessions && fgets(line, sizeof line, f)) {
    line[strcspn(line, "\n")] = 0;
    opt.paths[used++] = strdup(line);
  }
  fclose(f);
  if (used < opt.sessions) {
    fprintf(stderr, "sseload: fewer paths than sessions\n");
    exit(2);
  }
}

static void parse(int argc, char **argv) {
  static const struct option names[] = {
      {"host", 1, 0, 'h'},   {"port", 1, 0, 'p'},     {"path", 1, 0, 'u'},   {"header", 1, 0, 'H'},
      {"mode", 1, 0, 'm'},   {"connections", 1, 0, 'c'}, {"sessions", 1, 0, 's'}, {"events", 1, 0, 'e'},
      {"skip", 1, 0, 'k'},   {"stall", 1, 0, 'x'},    {"repeat", 1, 0, 'r'}, {"total", 1, 0, 't'},
      {"spread", 0, 0, 'S'}, {"paths", 1, 0, 'P'}, {"first", 1, 0, 'f'}, {0, 0, 0, 0}};
  static const char *modes[] = {"live", "idle", "replay", "churn"};
  const char *paths = NULL;
  for (int o; (o = getopt_long(argc, argv, "", names, NULL)) != -1;) switch (o) {
      case 'h': opt.host = optarg; break;
      case 'p': opt.port = atoi(optarg); break;
      case 'u': opt.path = optarg; break;
      case 'H': opt.header = optarg; break;
      case 'c': opt.connections = atoi(optarg); break;
      case 's': opt.sessions = atoi(optarg); break;
      case 'e': opt.events = (uint32_t)atoi(optarg); break;
      case 'k': opt.skip = (uint32_t)atoi(optarg); break;
      case 'x': opt.stall = atoi(optarg); break;
      case 'r': opt.repeat = atoi(optarg); break;
      case 't': opt.total = atoi(optarg); break;
      case 'f': opt.first = atoi(optarg); break;
      case 'P': paths = optarg; break;
      case 'S': opt.spread = true; break;
      case 'm':
        for (opt.work = LIVE; opt.work <= CHURN && strcmp(modes[opt.work], optarg) != 0; opt.work++) {}
        if (opt.work <= CHURN) break;
        __attribute__((fallthrough));
      default:
        fprintf(stderr, "usage: sseload --port P --connections N [--mode live|idle|replay|churn] ...\n");
        exit(2);
    }
  if (opt.port <= 0 || opt.connections <= 0 || opt.sessions <= 0) {
    fprintf(stderr, "sseload: --port, --connections and --sessions must be positive\n");
    exit(2);
  }
  if (paths) read_paths(paths);
}

int main(int argc, char **argv) {
  parse(argc, argv);
  signal(SIGPIPE, SIG_IGN);
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  conns = calloc((size_t)opt.connections, sizeof *conns);
  epoll_fd = epoll_create1(0);
  if (conns == NULL || epoll_fd < 0) die("set-up");
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &e) != 0) die("standard input must be a pipe");
  if (opt.work == REPLAY) run_waves();
  else if (opt.work == CHURN) run_churn();
  else run_live();
  report();
  return 0;
}

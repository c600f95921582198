/*
 * floor: what one write to one loopback connection costs this machine, with nothing around it.
 *
 * Lets N connections in, answers each with an SSE head, then writes one event of 256 bytes to every connection, over and
 * over, for the given seconds. No broker, no HTTP parser, no backpressure: what any server that writes each event to
 * each viewer by itself cannot go below. Prints writes per second and CPU per write as JSON.
 *
 *   floor PORT CONNECTIONS SECONDS
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double seconds(clockid_t which) {
  struct timespec t;
  clock_gettime(which, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: floor PORT CONNECTIONS SECONDS\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  int count = atoi(argv[2]), one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
  int *fds = calloc((size_t)count, sizeof *fds);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[1]))};
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (fds == NULL || bind(listener, (struct sockaddr *)&at, sizeof at) != 0 || listen(listener, 4096) != 0) {
    perror("floor");
    return 1;
  }
  static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
  char request[4096];
  for (int i = 0; i < count; i++) {
    fds[i] = accept(listener, NULL, NULL);
    if (fds[i] < 0 || read(fds[i], request, sizeof request) <= 0 || write(fds[i], head, sizeof head - 1) < 0) {
      perror("floor");
      return 1;
    }
    setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  }
  char event[320];
  int length = snprintf(event, sizeof event, "id: abcdefgh-123456\ndata: %256s\n\n", "x");
  unsigned long written = 0, full = 0;
  double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID), start = seconds(CLOCK_MONOTONIC), end = start + atof(argv[3]);
  while (seconds(CLOCK_MONOTONIC) < end)
    for (int i = 0; i < count; i++) {
      if (send(fds[i], event, (size_t)length, MSG_DONTWAIT) == length) written++;
      else full++;
    }
  double took = seconds(CLOCK_MONOTONIC) - start;
  cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
  printf("{\"writes\": %lu, \"full\": %lu, \"writes_per_second\": %.0f, \"cpu_us_per_write\": %.2f}\n", written, full,
         (double)written / took, cpu * 1e6 / (double)written);
  fflush(stdout);
  return 0;
}

/* A sink that speaks as much S3 as the benchmark's clients need, and throws all bodies away.
 *
 * It exists so that the client is what is measured: on two cores a real server is the bottleneck.
 * One thread, one epoll, HTTP/1.1 with keep-alive, TLS where a certificate is given. It checks no
 * signature and no checksum: it echoes the checksum a request carries, as S3 would if it was right.
 *
 *   sink PORT [--latency MILLISECONDS] [--tls CERTIFICATE_AND_KEY.pem]
 *
 * PORT 0 takes a free one. The port is printed on the first line; on SIGTERM, or when standard input
 * ends, one line of JSON says what came.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

enum { HEAD_LIMIT = 32768, SCRATCH = 262144, OUT_LIMIT = 2048 };
enum phase { HANDSHAKE, HEAD, BODY, CHUNK_LINE, CHUNK_DATA, TRAILER, DELAYED, SENDING };

struct connection {
    int fd, interest;
    SSL *ssl;
    enum phase phase;
    char head[HEAD_LIMIT + 1];
    int head_size;            /* bytes of the head, and of what follows it in the same read */
    long long left;           /* of the body or of the chunk */
    char line[256];           /* a chunk's size, or a trailer */
    int line_size;
    char out[OUT_LIMIT];
    int out_size, out_sent;
    int closes;
    char method[8], checksum[64];
    int is_create, is_complete, is_part, is_list, is_key;
    struct connection *next;  /* in the line of those whose answer is held back */
    double due;
};

static SSL_CTX *tls;
static int poller, latency_ms;
static char scratch[SCRATCH];
static volatile sig_atomic_t is_over;
static struct connection *first_delayed, *last_delayed;
static long long objects, parts, bytes, connections, requests;

static void stop(int number) { (void)number; is_over = 1; }

static double now(void) {
    struct timespec moment;
    clock_gettime(CLOCK_MONOTONIC, &moment);
    return moment.tv_sec + moment.tv_nsec / 1e9;
}

static void want(struct connection *c, int interest) {
    struct epoll_event event = {.events = interest, .data.ptr = c};
    if (c->interest == interest) return;
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
    c->interest = interest;
}

static void hang_up(struct connection *c) {
    if (c->phase == DELAYED) { /* still in the line: dropped when its turn comes */
        c->closes = 2;
        epoll_ctl(poller, EPOLL_CTL_DEL, c->fd, NULL);
        return;
    }
    if (c->ssl) SSL_free(c->ssl);
    close(c->fd);
    free(c);
}

/* Bytes read, 0 when there are none now, -1 when the connection is over. */
static int receive(struct connection *c, void *into, int size) {
    int got;
    if (!c->ssl) {
        got = recv(c->fd, into, size, 0);
        if (got > 0) return got;
        return got < 0 && errno == EAGAIN ? 0 : -1;
    }
    got = SSL_read(c->ssl, into, size);
    if (got > 0) return got;
    int why = SSL_get_error(c->ssl, got);
    ERR_clear_error();
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static int transmit(struct connection *c, const void *from, int size) {
    int sent;
    if (!c->ssl) {
        sent = send(c->fd, from, size, MSG_NOSIGNAL);
        if (sent > 0) return sent;
        return sent < 0 && errno == EAGAIN ? 0 : -1;
    }
    sent = SSL_write(c->ssl, from, size);
    if (sent > 0) return sent;
    int why = SSL_get_error(c->ssl, sent);
    ERR_clear_error();
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static const char *field(const char *head, const char *name) {
    const char *at = strcasestr(head, name);
    return at ? at + strlen(name) : NULL;
}

/* The answer to a request whose body has come. */
static void answer(struct connection *c) {
    char body[1024] = "", echo[128] = "", *type = "";
    int status = 200;
    requests++;
    if (c->checksum[0]) snprintf(echo, sizeof echo, "x-amz-checksum-crc64nvme: %s\r\n", c->checksum);
    if (c->is_create) {
        snprintf(body, sizeof body,
                 "<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><UploadId>u%lld</UploadId>"
                 "</InitiateMultipartUploadResult>", requests);
    } else if (c->is_complete) {
        char proof[192] = "";
        objects++;
        if (c->checksum[0])
            snprintf(proof, sizeof proof, "<ChecksumCRC64NVME>%s</ChecksumCRC64NVME><ChecksumType>FULL_OBJECT"
                     "</ChecksumType>", c->checksum);
        snprintf(body, sizeof body, "<CompleteMultipartUploadResult><Location>l</Location><Bucket>b</Bucket>"
                 "<Key>k</Key><ETag>\"00000000000000000000000000000000-1\"</ETag>%s"
                 "</CompleteMultipartUploadResult>", proof);
    } else if (!strcmp(c->method, "PUT")) {
        *(c->is_part ? &parts : &objects) += 1;
    } else if (!strcmp(c->method, "DELETE")) {
        status = 204;
    } else if (!strcmp(c->method, "HEAD")) {
        if (c->is_key) status = 404; /* nothing is kept here */
    } else if (c->is_list) {
        snprintf(body, sizeof body, "<ListBucketResult><Name>b</Name><KeyCount>0</KeyCount><MaxKeys>1000</MaxKeys>"
                 "<IsTruncated>false</IsTruncated></ListBucketResult>");
    } else {
        status = 404;
        snprintf(body, sizeof body, "<Error><Code>NoSuchKey</Code><Message>nothing is kept</Message></Error>");
    }
    if (body[0]) type = "content-type: application/xml\r\n";
    c->out_size = snprintf(
        c->out, OUT_LIMIT,
        "HTTP/1.1 %d %s\r\nx-amz-id-2: 0\r\nx-amz-request-id: %lld\r\nserver: sink\r\n%s%s"
        "etag: \"00000000000000000000000000000000\"\r\n%scontent-length: %d\r\n\r\n%s",
        status, status == 200 ? "OK" : status == 204 ? "No Content" : "Not Found", requests, echo, type,
        c->closes ? "connection: close\r\n" : "", (int)strlen(body), body);
    c->out_sent = 0;
    if (!latency_ms) { c->phase = SENDING; return; }
    c->phase = DELAYED;
    c->due = now() + latency_ms / 1000.0;
    c->next = NULL;
    if (last_delayed) last_delayed->next = c; else first_delayed = c;
    last_delayed = c;
    want(c, EPOLLRDHUP);
}

/* A whole head is here: what is asked, and how the body ends. */
static int begin(struct connection *c, int head_end) {
    char *head = c->head, target[2048] = "";
    char kept = head[head_end - 2];
    const char *value;
    int rest = c->head_size - head_end;
    head[head_end - 2] = 0; /* fields are looked for in this head only */
    if (sscanf(head, "%7s %2047s", c->method, target) != 2) return -1;
    char *query = strchr(target, '?');
    const char *slash = strchr(target + 1, '/');
    c->is_key = slash && slash[1] && slash[1] != '?';
    c->is_create = !strcmp(c->method, "POST") && query && strstr(query, "uploads");
    c->is_complete = !strcmp(c->method, "POST") && query && strstr(query, "uploadId=");
    c->is_part = query && strstr(query, "partNumber=");
    c->is_list = !strcmp(c->method, "GET") && !c->is_key;
    c->checksum[0] = 0;
    if ((value = field(head, "\r\nx-amz-checksum-crc64nvme:"))) sscanf(value, " %63[^\r]", c->checksum);
    c->closes = (value = field(head, "\r\nconnection:")) && strcasestr(value, "close") == value + 1;
    c->left = (value = field(head, "\r\ncontent-length:")) ? atoll(value) : 0;
    c->phase = field(head, "\r\ntransfer-encoding: chunked") ? CHUNK_LINE : BODY;
    c->line_size = 0;
    if (field(head, "\r\nexpect: 100-continue") && transmit(c, "HTTP/1.1 100 Continue\r\n\r\n", 25) != 25) return -1;
    head[head_end - 2] = kept;
    memmove(head, head + head_end, rest);
    c->head_size = rest;
    return 0;
}

/* Take what belongs to the body from `data`; how many bytes that was. */
static int consume(struct connection *c, const char *data, int size) {
    int used = 0;
    while (used < size && c->phase != DELAYED && c->phase != SENDING && c->phase != HEAD) {
        if (c->phase == BODY || c->phase == CHUNK_DATA) {
            int take = size - used < c->left ? size - used : (int)c->left;
            used += take;
            c->left -= take;
            bytes += take;
            if (c->left) continue;
            if (c->phase == BODY) { answer(c); break; }
            c->phase = CHUNK_LINE;
            c->line_size = -2; /* the line break after a chunk */
        } else {
            char letter = data[used++];
            if (c->line_size < 0) { c->line_size++; continue; }
            if (c->line_size < (int)sizeof c->line - 1) c->line[c->line_size++] = letter;
            if (letter != '\n') continue;
            c->line[c->line_size] = 0;
            int is_empty = c->line_size <= 2;
            c->line_size = 0;
            if (c->phase == TRAILER) { if (is_empty) { answer(c); break; } }
            else if ((c->left = strtoll(c->line, NULL, 16)) > 0) c->phase = CHUNK_DATA;
            else c->phase = TRAILER;
        }
    }
    return used;
}

/* Go on with a connection as far as it goes; -1 when it is over. */
static int go_on(struct connection *c) {
    for (;;) {
        if (c->phase == HANDSHAKE) {
            int done = SSL_accept(c->ssl);
            if (done == 1) { c->phase = HEAD; continue; }
            int why = SSL_get_error(c->ssl, done);
            ERR_clear_error();
            if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) return -1;
            want(c, why == SSL_ERROR_WANT_WRITE ? EPOLLOUT : EPOLLIN);
            return 0;
        }
        if (c->phase == DELAYED) return 0;
        if (c->phase == SENDING) {
            int sent = transmit(c, c->out + c->out_sent, c->out_size - c->out_sent);
            if (sent < 0) return -1;
            if (!sent) { want(c, EPOLLOUT); return 0; }
            if ((c->out_sent += sent) < c->out_size) continue;
            if (c->closes) return -1;
            want(c, EPOLLIN);
            c->phase = HEAD;
        }
        if (c->phase == HEAD) {
            c->head[c->head_size] = 0;
            char *end = c->head_size > 3 ? memmem(c->head, c->head_size, "\r\n\r\n", 4) : NULL;
            if (end) {
                if (begin(c, (int)(end - c->head) + 4) < 0) return -1;
                if (c->phase == BODY && !c->left) answer(c);
                int used = consume(c, c->head, c->head_size);
                memmove(c->head, c->head + used, c->head_size -= used);
                continue;
            }
            if (c->head_size >= HEAD_LIMIT) return -1;
            int got = receive(c, c->head + c->head_size, HEAD_LIMIT - c->head_size);
            if (got < 0) return -1;
            if (!got) { want(c, EPOLLIN); return 0; }
            c->head_size += got;
            continue;
        }
        int got = receive(c, scratch, SCRATCH);
        if (got < 0) return -1;
        if (!got) { want(c, EPOLLIN); return 0; }
        int used = consume(c, scratch, got);
        if (used < got) { /* the next request came along */
            if (got - used > HEAD_LIMIT) return -1;
            memcpy(c->head, scratch + used, c->head_size = got - used);
        }
    }
}

static void take_in(int listener) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), yes = 1;
        if (fd < 0) return;
        struct connection *c = calloc(1, sizeof *c);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        c->fd = fd;
        c->phase = HEAD;
        c->interest = EPOLLIN;
        connections++;
        if (tls) { c->ssl = SSL_new(tls); SSL_set_fd(c->ssl, fd); c->phase = HANDSHAKE; }
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
        if (go_on(c) < 0) hang_up(c);
    }
}

/* Let go those whose latency is over; milliseconds until the next one, -1 when nobody waits. */
static int release_delayed(void) {
    double moment = now();
    while (first_delayed && first_delayed->due <= moment) {
        struct connection *c = first_delayed;
        if (!(first_delayed = c->next)) last_delayed = NULL;
        c->phase = SENDING;
        if (c->closes == 2 || go_on(c) < 0) hang_up(c);
    }
    return first_delayed ? (int)((first_delayed->due - moment) * 1000) + 1 : -1;
}

int main(int count, char **arguments) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), yes = 1;
    address.sin_port = htons(count > 1 ? atoi(arguments[1]) : 0);
    for (int i = 2; i + 1 < count; i += 2) {
        if (!strcmp(arguments[i], "--latency")) latency_ms = atoi(arguments[i + 1]);
        if (strcmp(arguments[i], "--tls")) continue;
        tls = SSL_CTX_new(TLS_server_method());
        SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        SSL_CTX_set_read_ahead(tls, 1);
        if (SSL_CTX_use_certificate_chain_file(tls, arguments[i + 1]) != 1 ||
            SSL_CTX_use_PrivateKey_file(tls, arguments[i + 1], SSL_FILETYPE_PEM) != 1) {
            ERR_print_errors_fp(stderr);
            return 1;
        }
    }
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024)) {
        perror("sink");
        return 1;
    }
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    signal(SIGTERM, stop);
    signal(SIGINT, stop);
    signal(SIGPIPE, SIG_IGN);
    poller = epoll_create1(EPOLL_CLOEXEC);
    static int is_listener, is_input; /* only their addresses matter */
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &is_listener}, events[256];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    event = (struct epoll_event){.events = EPOLLHUP | EPOLLRDHUP, .data.ptr = &is_input};
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &event); /* whoever started us is gone: so are we */
    while (!is_over) {
        int ready = epoll_wait(poller, events, 256, release_delayed());
        for (int i = 0; i < ready; i++) {
            if (events[i].data.ptr == &is_listener) take_in(listener);
            else if (events[i].data.ptr == &is_input) is_over = 1;
            else if (go_on(events[i].data.ptr) < 0 ||
                     (((struct connection *)events[i].data.ptr)->phase == DELAYED &&
                      events[i].events & (EPOLLHUP | EPOLLRDHUP | EPOLLERR)))
                hang_up(events[i].data.ptr);
        }
    }
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    printf("{\"objects\": %lld, \"parts\": %lld, \"bytes\": %lld, \"connections\": %lld, \"requests\": %lld,"
           " \"cpu_seconds\": %.3f}\n", objects, parts, bytes, connections, requests,
           used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
    return 0;
}

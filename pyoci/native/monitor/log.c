/* The log: one JSON object a line, as docker's json-file driver writes it.  A disk that is full costs lines, which are counted and told, never the container. */
#include "monitor.h"

enum { ESCAPED = 6, ROOM = CHUNK * ESCAPED + 256 };

uint64_t log_lost;

static int folder_fd = -1, file_fd = -1;
static uint64_t size;
static unsigned char text[2 * ROOM]; /* lines on their way; touched only as far as they reach */
static size_t length;
static uint64_t lines;
static uint64_t untold; /* lost lines that the log has not been told of */

static char *file_name(char *to, const char *end, uint64_t number)
{
	char *at = put_text(to, end, "log.json");

	if (number) {
		*at++ = '.';
		at = put_number(at, number);
	}
	return at;
}

static void reopen(void)
{
	struct stat_ {
		uint64_t words[18];
	} facts;

	close_fd(file_fd);
	file_fd = (int)CALL4(openat, folder_fd, "log.json", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
	/* st_size is the seventh word of struct stat, on x86-64 and arm64 alike. */
	size = file_fd >= 0 && CALL2(fstat, file_fd, &facts) == 0 ? facts.words[6] : 0;
}

void log_open(void)
{
	if (!*options.logs)
		return;
	folder_fd = (int)CALL4(openat, AT_FDCWD_, options.logs, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	if (folder_fd >= 0)
		reopen();
}

static void rotate(void)
{
	char from[32], to[32];

	if (options.log_files < 2) {
		CALL2(ftruncate, file_fd, 0);
		size = 0;
		return;
	}
	for (uint64_t number = options.log_files - 1; number; number--) {
		file_name(from, from + sizeof from, number - 1);
		file_name(to, to + sizeof to, number);
		CALL5(renameat2, folder_fd, from, folder_fd, to, 0);
	}
	reopen();
}

/* Everything or nothing: half a line would spoil the one after it. */
static int write_all(const unsigned char *bytes, size_t count)
{
	size_t done = 0;

	while (done < count) {
		long wrote = CALL3(write, file_fd, bytes + done, count - done);

		if (wrote == EINTR_)
			continue;
		if (wrote <= 0) {
			CALL2(ftruncate, file_fd, size);
			return 0;
		}
		done += (size_t)wrote;
	}
	size += count;
	return 1;
}

/* Write what is waiting.  0 if no disk took it. */
static int flush(void)
{
	int written = 1;

	if (!length)
		return 1;
	if (file_fd < 0)
		reopen();
	if (file_fd < 0 || !write_all(text, length)) {
		log_lost += lines;
		untold += lines;
		written = 0;
	} else {
		clients_note_log();
	}
	length = 0;
	lines = 0;
	return written;
}

void log_flush(void)
{
	flush();
}

static void put(unsigned char byte)
{
	text[length++] = byte;
}

static void put_words(const char *words)
{
	while (*words)
		put((unsigned char)*words++);
}

static void put_padded(uint64_t number, int digits)
{
	for (int at = digits - 1; at >= 0; at--, number /= 10)
		text[length + (size_t)at] = (unsigned char)('0' + number % 10);
	length += (size_t)digits;
}

/* RFC 3339 in UTC, the fraction without trailing zeros.  Days to a date: Howard Hinnant, "chrono-compatible low-level date algorithms". */
static void put_time(void)
{
	struct {
		int64_t s, ns;
	} time = {0, 0};
	uint64_t days, second, era, of_era, year_of_era, of_year, month, fraction;
	int digits = 9;

	CALL2(clock_gettime, 0 /* CLOCK_REALTIME */, &time);
	days = (uint64_t)time.s / 86400 + 719468;
	second = (uint64_t)time.s % 86400;
	era = days / 146097;
	of_era = days % 146097;
	year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	month = (5 * of_year + 2) / 153;
	put_padded(year_of_era + era * 400 + (month >= 10), 4);
	put('-');
	put_padded(month < 10 ? month + 3 : month - 9, 2);
	put('-');
	put_padded(of_year - (153 * month + 2) / 5 + 1, 2);
	put('T');
	put_padded(second / 3600, 2);
	put(':');
	put_padded(second / 60 % 60, 2);
	put(':');
	put_padded(second % 60, 2);
	fraction = (uint64_t)time.ns;
	if (fraction) {
		while (fraction % 10 == 0) {
			fraction /= 10;
			digits--;
		}
		put('.');
		put_padded(fraction, digits);
	}
	put('Z');
}

/* How many bytes the character at `at` has, 0 if it is none.  RFC 3629 */
static size_t character(const unsigned char *at, size_t left)
{
	size_t count = *at < 0x80 ? 1 : *at >= 0xC2 && *at < 0xE0 ? 2 : (*at & 0xF0) == 0xE0 ? 3 : *at >= 0xF0 && *at < 0xF5 ? 4 : 0;
	unsigned char low = *at == 0xE0 ? 0xA0 : *at == 0xF0 ? 0x90 : 0x80;
	unsigned char high = *at == 0xED ? 0x9F : *at == 0xF4 ? 0x8F : 0xBF;

	if (count > left)
		return 0;
	for (size_t index = 1; index < count; index++, low = 0x80, high = 0xBF)
		if (at[index] < low || at[index] > high)
			return 0;
	return count;
}

static void put_escape(unsigned char byte)
{
	static const char hex[] = "0123456789abcdef";

	put_words("\\u00");
	put((unsigned char)hex[byte >> 4]);
	put((unsigned char)hex[byte & 15]);
}

static size_t put_character(const unsigned char *at, size_t left)
{
	size_t count = character(at, left);

	if (!count) {
		put_words("\\ufffd");
		return 1;
	}
	if (*at == '\n')
		put_words("\\n");
	else if (*at == '\r')
		put_words("\\r");
	else if (*at == '"' || *at == '\\')
		put('\\'), put(*at);
	else if (*at < 0x20 || *at == '<' || *at == '>' || *at == '&')
		put_escape(*at);
	else if (count == 3 && at[0] == 0xE2 && at[1] == 0x80 && (at[2] & 0xFE) == 0xA8)
		put_words(at[2] & 1 ? "\\u2029" : "\\u2028");
	else
		for (size_t index = 0; index < count; index++)
			put(at[index]);
	return count;
}

static void put_line(const char *stream_name, const unsigned char *bytes, size_t count, int ends)
{
	put_words("{\"log\":\"");
	while (count) {
		size_t taken = put_character(bytes, count);

		bytes += taken;
		count -= taken;
	}
	if (ends)
		put_words("\\n");
	put_words("\",\"stream\":\"");
	put_words(stream_name);
	put_words("\",\"time\":\"");
	put_time();
	put_words("\"}\n");
}

static void tell_loss(void)
{
	char words[128] = "";
	char *at = put_text(words, words + 64, "minidocker: the log lost ");

	at = put_number(at, untold);
	at = put_text(at, words + sizeof words, untold == 1 ? " line: the disk was full" : " lines: the disk was full");
	put_line("stderr", (unsigned char *)words, (size_t)(at - words), 1);
	if (flush())
		untold = 0;
}

void log_line(const char *stream_name, const unsigned char *bytes, size_t count, int ends)
{
	if (folder_fd < 0)
		return;
	if (untold && !length)
		tell_loss();
	if (length > ROOM)
		log_flush();
	if (options.log_max_bytes && size + length >= options.log_max_bytes) {
		log_flush();
		if (file_fd >= 0 && size >= options.log_max_bytes)
			rotate();
	}
	put_line(stream_name, bytes, count, ends);
	lines++;
}

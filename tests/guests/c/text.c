/* text - bytes in and out: Levenshtein's distance with rows on the stack, Conway's Life, capital letters.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <ctype.h>

#include "harness.h"

enum { WORDS = 300, LENGTH = 20, WIDTH = 53, HEIGHT = 41, GENERATIONS = 3, LETTERS = 3001 };

/* The distance of each word from the first; words end with 0 or at their length. */
static uint32_t length_of(const char *word) {
    uint32_t length = 0;
    while (length < LENGTH && word[length]) {
        length++;
    }
    return length;
}

static void levenshtein(IDS, const char *words, uint32_t words_size, uint8_t *distances, uint32_t distances_size) {
    const char *a = words, *b = words + i * LENGTH;
    uint32_t a_length = length_of(a), b_length = length_of(b);
    uint8_t rows[2][LENGTH + 1], *above = rows[0], *row = rows[1];
    for (uint32_t k = 0; k <= b_length; k++) {
        above[k] = (uint8_t)k;
    }
    for (uint32_t y = 0; y < a_length; y++) {
        row[0] = (uint8_t)(y + 1);
        for (uint32_t x = 0; x < b_length; x++) {
            uint8_t least = (uint8_t)(above[x] + (a[y] != b[x]));
            least = above[x + 1] + 1 < least ? (uint8_t)(above[x + 1] + 1) : least;
            row[x + 1] = row[x] + 1 < least ? (uint8_t)(row[x] + 1) : least;
        }
        uint8_t *kept = above;
        above = row;
        row = kept;
    }
    distances[i] = above[b_length];
}

/* One cell an invocation, one byte a cell, on a torus. */
static void life(IDS, const uint8_t *from, uint32_t from_size, uint8_t *to, uint32_t to_size) {
    int x = i % WIDTH, y = i / WIDTH, neighbours = 0;
    for (int dy = HEIGHT - 1; dy <= HEIGHT + 1; dy++) {
        for (int dx = WIDTH - 1; dx <= WIDTH + 1; dx++) {
            neighbours += from[(y + dy) % HEIGHT * WIDTH + (x + dx) % WIDTH];
        }
    }
    neighbours -= from[i];
    to[i] = neighbours == 3 || (from[i] && neighbours == 2);
}

/* In place, an odd number of letters; the C library's toupper. */
static void capitals(IDS, char *text, uint32_t text_size) { text[i] = (char)toupper((unsigned char)text[i]); }

/* Words of 3 to LENGTH letters of a small alphabet. */
static void fill_words(char *words) {
    uint32_t random = 19;
    for (uint32_t word = 0; word < WORDS; word++) {
        uint32_t length = 3 + next_word(&random) % (LENGTH - 2);
        for (uint32_t k = 0; k < length; k++) {
            words[word * LENGTH + k] = "aeioukt"[next_word(&random) % 7];
        }
    }
}

int main(void) {
    static char words[WORDS * LENGTH], text[LETTERS];
    static uint8_t distances[WORDS], cells[2][WIDTH * HEIGHT];
    uint32_t random = 20;
    fill_words(words);
    for (uint32_t k = 0; k < WIDTH * HEIGHT; k++) {
        cells[0][k] = next_word(&random) % 3 == 0;
    }
    fill_bytes((uint8_t *)text, LETTERS, 21);
    struct array words_array = ARRAY(words, WL_READ), distances_array = ARRAY(distances, WL_WRITE),
                 cell_arrays[2] = {ARRAY(cells[0], WL_READ_WRITE), ARRAY(cells[1], WL_READ_WRITE)},
                 text_array = ARRAY(text, WL_READ_WRITE);
    LAUNCH(levenshtein, WORDS, 64, 1, &words_array, &distances_array);
    for (int k = 0; k < GENERATIONS; k++) {
        LAUNCH(life, WIDTH * HEIGHT, 64, 1, &cell_arrays[k % 2], &cell_arrays[(k + 1) % 2]);
    }
    LAUNCH(capitals, LETTERS, 64, 0, &text_array);
    return finish();
}

// Tables of hashed contexts, the hot path of the tenant memory.
//
//   table  2^line_bits lines of 64 bytes, one cache line each
//   line   [ entry | entry | entry | era ]         the entry that was used last comes first
//   entry  mark | token 0 | token 1 | token 2 | counts of the three and the total, a byte each, lowest first
//
// What each operation means is written down, and repeated bit by bit, in
// dataplane/speculation/drafters/context_table.py: that is the specification, this only makes it fast.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

namespace {

constexpr int WAYS = 3, ENTRY_WORDS = 5, LINE_WORDS = 16, ERA = 15, TOKENS = 3;
constexpr int START_BITS = 8, ERA_BITS = 15;
constexpr uint32_t FULL = 64;
constexpr int ORDERS[] = {24, 12, 6, 4, 3, 2, 1};
constexpr int NUM_ORDERS = 7, LONGEST = 24;
constexpr int MAX_CANDIDATES = 16, MAX_MIXED = MAX_CANDIDATES + 2 * TOKENS * NUM_ORDERS, MAX_LOOKAHEAD = 64;

struct Table {
    uint32_t* words;
    uint64_t line_bits, used, learned;
};

struct Key {
    uint32_t low, mark;
};

// One key for each order that the context can fill, longest first, and where in ORDERS they begin.
int context_keys(const int32_t* end, int64_t available, Key (&keys)[NUM_ORDERS]) {
    const int first = [&] {
        int order = 0;
        while (order < NUM_ORDERS && ORDERS[order] > available) ++order;
        return order;
    }();
    uint64_t hash = 0x9E3779B97F4A7C15;
    int order = NUM_ORDERS - 1;
    for (int length = 1; order >= first; ++length) {
        hash = (hash ^ static_cast<uint32_t>(end[-length])) * 0xD6E8FEB86659FD93;
        hash ^= hash >> 32;
        if (ORDERS[order] == length) {
            uint64_t key = hash * 0xFF51AFD7ED558CCD;
            key ^= key >> 29;
            const auto mark = static_cast<uint32_t>(key >> 32);
            keys[order--] = {static_cast<uint32_t>(key), mark ? mark : 1};
        }
    }
    return first;
}

uint32_t* line_of(const Table& table, Key key) {
    const uint64_t low = std::min<uint64_t>(table.line_bits, START_BITS);
    const uint64_t grown = key.mark & ((uint64_t{1} << (table.line_bits - low)) - 1);
    return table.words + LINE_WORDS * ((key.low & ((1u << low) - 1)) | grown << low);
}

struct Counts {
    uint32_t of[TOKENS], total;

    explicit Counts(uint32_t word) : of{word & 255, word >> 8 & 255, word >> 16 & 255}, total(word >> 24) {}
    uint32_t word() const { return of[0] | of[1] << 8 | of[2] << 16 | total << 24; }

    void fade(uint32_t halvings) {
        for (auto& count : of) count >>= halvings;
        of[0] = std::max(of[0], 1u);
        total = std::max(total >> halvings, of[0] + of[1] + of[2]);
    }
};

void fade_line(uint32_t* line, uint32_t era) {
    const uint32_t age = std::min(era - line[ERA], 7u);
    line[ERA] = era;
    if (age == 0) return;
    for (uint32_t* entry = line; entry != line + WAYS * ENTRY_WORDS; entry += ENTRY_WORDS) {
        if (entry[0] == 0) continue;
        Counts counts(entry[4]);
        counts.fade(age);
        entry[4] = counts.word();
    }
}

uint32_t* find(uint32_t* line, uint32_t mark) {
    for (uint32_t* entry = line; entry != line + WAYS * ENTRY_WORDS; entry += ENTRY_WORDS)
        if (entry[0] == mark) return entry;
    return nullptr;
}

void count_token(uint32_t* entry, uint32_t token) {
    Counts counts(entry[4]);
    uint32_t* tokens = entry + 1;
    int place = 0;
    while (place < TOKENS && (counts.of[place] == 0 || tokens[place] != token)) ++place;
    counts.total += 1;
    if (place < TOKENS) {
        counts.of[place] += 1;
    } else if (counts.of[TOKENS - 1] > 1) {
        counts.of[TOKENS - 1] -= 1;
    } else {
        place = TOKENS - 1;
        tokens[place] = token;
        counts.of[place] = 1;
    }
    for (; place < TOKENS && place > 0 && counts.of[place] >= counts.of[place - 1] + (place == 1); --place) {
        std::swap(counts.of[place], counts.of[place - 1]);
        std::swap(tokens[place], tokens[place - 1]);
    }
    if (counts.total >= FULL) counts.fade(1);
    entry[4] = counts.word();
}

void learn(Table& table, Key key, uint32_t token, uint32_t era) {
    uint32_t* line = line_of(table, key);
    fade_line(line, era);
    uint32_t* entry = find(line, key.mark);
    if (entry != nullptr) {
        count_token(entry, token);
    } else {
        entry = line;
        for (uint32_t* other = line; other != line + WAYS * ENTRY_WORDS; other += ENTRY_WORDS)
            if ((other[4] & 255) <= (entry[4] & 255)) entry = other;  // the weakest; of equals the one used least lately
        if ((entry[4] & 255) > 1) {  // stronger contexts live here: the weakest of them weakens
            Counts counts(entry[4]);
            counts.fade(1);
            entry[4] = counts.word();
            return;
        }
        table.used += entry[0] == 0;
        const uint32_t fresh[ENTRY_WORDS] = {key.mark, token, 0, 0, Counts(1 | 1u << 24).word()};
        std::memcpy(entry, fresh, sizeof fresh);
    }
    if (entry != line) std::rotate(line, entry, entry + ENTRY_WORDS);
}

const uint32_t* recall(const Table* table, Key key) { return table ? find(line_of(*table, key), key.mark) : nullptr; }

void prefetch(const Table* table, const Key (&keys)[NUM_ORDERS], int first) {
    if (table)
        for (int order = first; order < NUM_ORDERS; ++order) __builtin_prefetch(line_of(*table, keys[order]));
}

// The token that the tables believe in, and why: scope, order, count and total. False: they know none.
bool likeliest(const Table* const (&tables)[2], const int32_t* end, int64_t available, int32_t& token, int32_t& why) {
    Key keys[NUM_ORDERS];
    const int first = context_keys(end, available, keys);
    prefetch(tables[0], keys, first);
    prefetch(tables[1], keys, first);
    bool asked[2] = {tables[0] != nullptr, tables[1] != nullptr}, found = false;
    for (int order = first; order < NUM_ORDERS && (asked[0] || asked[1]); ++order)
        for (int scope = 0; scope < 2; ++scope) {
            const uint32_t* entry = asked[scope] ? recall(tables[scope], keys[order]) : nullptr;
            if (entry == nullptr) continue;
            const uint32_t count = entry[4] & 255, total = entry[4] >> 24;
            const bool dominates = 4 * (total - count) <= total;
            if (!found || dominates) {
                token = static_cast<int32_t>(entry[1]);
                why = static_cast<int32_t>(scope | order << 1 | count << 8 | total << 16);
            }
            if (dominates) return true;
            found = true;
            asked[scope] = false;
        }
    return found;
}

}  // namespace

extern "C" {

// Learn tokens[begin, end) after their contexts; `shared` (may be null) learns those from `shared_begin` on, too.
void tables_learn(
    Table* own, Table* shared, const int32_t* tokens, int64_t begin, int64_t end, int64_t shared_begin
) {
    for (int64_t position = begin; position < end; ++position) {
        Key keys[NUM_ORDERS];
        const int first = context_keys(tokens + position, position, keys);
        Table* const both[] = {own, position >= shared_begin ? shared : nullptr};
        for (Table* table : both) prefetch(table, keys, first);
        for (Table* table : both) {
            if (table == nullptr) continue;
            const auto era = static_cast<uint32_t>(table->learned++ >> ERA_BITS);
            for (int order = first; order < NUM_ORDERS; ++order)
                learn(*table, keys[order], static_cast<uint32_t>(tokens[position]), era);
        }
    }
}

// Spread the lines of `from` over `into`, which has twice as many and is empty.
void tables_split(const Table* from, Table* into) {
    const uint64_t lines = uint64_t{1} << from->line_bits, bit = from->line_bits - START_BITS;
    for (uint64_t line = 0; line < lines; ++line) {
        const uint32_t* source = from->words + LINE_WORDS * line;
        uint32_t* halves[] = {into->words + LINE_WORDS * line, into->words + LINE_WORDS * (line + lines)};
        for (uint32_t* half : halves) half[ERA] = source[ERA];
        for (const uint32_t* entry = source; entry != source + WAYS * ENTRY_WORDS; entry += ENTRY_WORDS) {
            if (entry[0] == 0) continue;
            uint32_t*& half = halves[entry[0] >> bit & 1];
            std::memcpy(half, entry, ENTRY_WORDS * sizeof(uint32_t));
            half += ENTRY_WORDS;
        }
    }
    into->used = from->used;
    into->learned = from->learned;
}

// Continue window[0, size), token by token. Either table may be null. Returns how many tokens were found.
int64_t tables_propose(
    const Table* own, const Table* shared, const int32_t* window, int64_t size, int64_t lookahead, int32_t* tokens,
    int32_t* reasons
) {
    int32_t text[LONGEST + MAX_LOOKAHEAD];
    int64_t length = std::min<int64_t>(size, LONGEST), count = 0;
    std::copy(window + size - length, window + size, text);
    const Table* const tables[] = {own, shared};
    for (; count < std::min<int64_t>(lookahead, MAX_LOOKAHEAD); ++count, ++length) {
        if (!likeliest(tables, text + length, length, tokens[count], reasons[count])) break;
        text[length] = tokens[count];
    }
    return count;
}

// Posteriors of the drafter's `candidates` (probabilities `probs`; any other token has `other`) and of whatever followed
// the contexts at the end of window[0, size). Expert 0 is the drafter, expert 1 + i the Dirichlet posterior of ORDERS[i]
// that is centred on that of the next shorter context (the shortest on the draft) with the weight of kappa / ORDERS[i] observations. tokens: [MAX_MIXED]; experts: [1 + NUM_ORDERS, MAX_MIXED]. Returns how many tokens there are,
// the candidates first; 0 if no context was ever seen.
int64_t tables_mix(
    const Table* own, const Table* shared, const int32_t* window, int64_t size, const int32_t* candidates,
    const double* probs, int64_t num_candidates, double other, double kappa, int32_t* tokens, double* experts
) {
    Key keys[NUM_ORDERS];
    const int first = context_keys(window + size, std::min<int64_t>(size, LONGEST), keys);
    const Table* const tables[] = {own, shared};
    for (const Table* table : tables) prefetch(table, keys, first);
    int64_t count = num_candidates;
    std::copy(candidates, candidates + count, tokens);
    uint32_t seen[NUM_ORDERS][MAX_MIXED] = {}, totals[NUM_ORDERS] = {}, tracked[NUM_ORDERS] = {};
    bool known = false;
    for (int order = first; order < NUM_ORDERS; ++order)
        for (const Table* table : tables) {
            const uint32_t* entry = recall(table, keys[order]);
            if (entry == nullptr) continue;
            known = true;
            const int row = order;
            const Counts counts(entry[4]);
            totals[row] += counts.total;
            for (int place = 0; place < TOKENS && counts.of[place]; ++place) {
                const auto token = static_cast<int32_t>(entry[1 + place]);
                const int64_t at = std::find(tokens, tokens + count, token) - tokens;
                if (at == count) tokens[count++] = token;
                seen[row][at] += counts.of[place];
                tracked[row] += counts.of[place];
            }
        }
    if (!known) return 0;
    for (int64_t at = 0; at < count; ++at) {
        const double drafted = at < num_candidates ? probs[at] : other;
        experts[at] = drafted;
        double centre = drafted;
        for (int row = NUM_ORDERS - 1; row >= 0; --row) {
            const double weight = kappa / ORDERS[row];
            const double prior = weight + (totals[row] - tracked[row]);
            centre = (seen[row][at] + prior * centre) / (totals[row] + weight);
            experts[(1 + row) * MAX_MIXED + at] = centre;
        }
    }
    return count;
}

}  // extern "C"

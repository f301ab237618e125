"""What the demo prints: each question under each policy, a table of the policies, and a conclusion."""
import textwrap

MEBIBYTE = 1 << 20
COLUMNS = """
right          answers that contain the fact
KV held        memory of the rows that are kept, with question and answer, and its share of the full cache's
peak           the most KV memory at any moment, reading included
tokens/s       speed of the answer
first token    from the start of a question's command to the first token of its answer
reading again  the same and the time that the document took to read: what it takes without the file
"""


def add_shares(rows):
    """rows: as demo.summary makes them, the full cache first."""
    for row in rows:
        row["kv_share"] = row["kv_bytes_held"] / rows[0]["kv_bytes_held"]


def conclusion(rows, budget):
    """Sentences made of the results, whatever they are."""
    full, *small = rows
    counts = ", ".join(f"{row['right']} with {row['policy']}" for row in small)
    times = [row["first_token_reading_again_s"] / row["first_token_s"] for row in small]
    share = 100 * max(row["kv_share"] for row in small)
    return (f"With the full cache {full['right']} of {full['asked']} answers were right; with {budget} rows per layer and "
            f"KV head, {share:.0f} % of the KV memory, {counts}. A question's first token came {min(times):.0f} to "
            f"{max(times):.0f} times as fast as with the document read again.")


def show_questions(rows, facts):
    policies = [row["policy"] for row in rows]
    width, answer = (max(6, *(len(getattr(fact, name)) for fact in facts)) for name in ("question", "answer"))
    print(f"{'question':{width}}  {'fact':{answer}}  {'  '.join(policies)}")
    for i, fact in enumerate(facts):
        marks = "  ".join(f"{'yes' if row['answers'][i]['right'] else '-':{len(row['policy'])}}" for row in rows)
        print(f"{fact.question:{width}}  {fact.answer:{answer}}  {marks}".rstrip())


def cells(row):
    """A row of the table, as texts."""
    held, peak = (row[f"kv_bytes_{name}"] / MEBIBYTE for name in ("held", "peak"))
    return [row["policy"], f"{row['right']} of {row['asked']}", f"{held:.2f} MiB, {100 * row['kv_share']:3.0f} %",
            f"{peak:.1f} MiB", f"{row['decode_tokens_per_s']:.0f}" if row["decode_tokens_per_s"] else "-",
            f"{row['first_token_s']:.2f} s", f"{row['first_token_reading_again_s']:.2f} s"]


def show_table(rows):
    table = [["policy", "right", "KV held", "peak", "tokens/s", "first token", "reading again"], *map(cells, rows)]
    widths = [max(map(len, column)) for column in zip(*table)]
    for name, *numbers in table:
        print("  ".join([f"{name:{widths[0]}}", *(f"{number:>{width}}" for number, width in zip(numbers, widths[1:]))]))


def show(rows, facts, seed, budget):
    print(f"A made-up document of {rows[0]['document_tokens']:,} tokens with eight facts in it, seed {seed}. Under each policy "
          "it was\nread once, before any question was known, and kept as a file; each question was then asked of that file.\n")
    show_questions(rows, facts)
    print()
    show_table(rows)
    print(COLUMNS)
    print(textwrap.fill(conclusion(rows, budget), 110))

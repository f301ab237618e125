"""What the demo prints: each question under each policy, a table of the policies, and a conclusion."""
import textwrap

MEBIBYTE = 1 << 20
COLUMNS = """
right          answers that contain the fact
KV held        memory of the rows that are kept, with question and answer, and its share of the full cache's
peak           the most KV memory at any moment, reading included
tokens/s       speed of the answer
first token    from the start of a question's command to the first token of its answer
reading again  the same where the document must be read again, as it must without its file
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
    return (f"With the full cache {full['right']} of {full['asked']} answers were right; with {budget} rows per layer and KV "
            f"head, {100 * max(row['kv_share'] for row in small):.0f} % of the KV memory, {counts}. A question's first token came "
            f"{min(times):.0f} to {max(times):.0f} times as fast as with the document read again.")


def show_questions(rows, facts):
    policies = [row["policy"] for row in rows]
    width, answer = (max(6, *(len(getattr(fact, name)) for fact in facts)) for name in ("question", "answer"))
    print(f"{'question':{width}}  {'fact':{answer}}  {'  '.join(policies)}")
    for i, fact in enumerate(facts):
        marks = "  ".join(f"{'yes' if row['answers'][i]['right'] else '-':{len(row['policy'])}}" for row in rows)
        print(f"{fact.question:{width}}  {fact.answer:{answer}}  {marks}".rstrip())


def show_table(rows):
    width = max(6, *(len(row["policy"]) for row in rows))
    print(f"{'policy':{width}}  {'right':>7}  {'KV held':>17}  {'peak':>9}  {'tokens/s':>8}  {'first token':>11}  {'reading again':>13}")
    for row in rows:
        speed = f"{row['decode_tokens_per_s']:.0f}" if row["decode_tokens_per_s"] else "-"
        held, peak = (row[f"kv_bytes_{name}"] / MEBIBYTE for name in ("held", "peak"))
        print(f"{row['policy']:{width}}  {row['right']:>2} of {row['asked']:<1}  {held:>6.2f} MiB, {100 * row['kv_share']:>3.0f} %"
              f"  {peak:>5.1f} MiB  {speed:>8}  {row['first_token_s']:>9.2f} s  {row['first_token_reading_again_s']:>11.2f} s")


def show(rows, facts, seed, budget):
    print(f"A made-up document of {rows[0]['document_tokens']:,} tokens with eight facts in it, seed {seed}. Under each policy it was read\n"
          "once, before any question was known, and kept as a file; each question was then asked of that file.\n")
    show_questions(rows, facts)
    print()
    show_table(rows)
    print(COLUMNS)
    print(textwrap.fill(conclusion(rows, budget), 110))

#!/usr/bin/env bash
# Matches a pairs file on a Slurm cluster: an array job of shards, then one job that merges them and imports the result.
#
#   bash slurm.sh PAIRS PHOTOS OUT SHARDS [options of astr match, such as --long-side 1024]
#
# OUT/ gets shards/N.h5, matches.h5 and database.db; all machines must see PAIRS, PHOTOS and OUT. Needs `astr` on PATH.
# Run again after a failure, it goes on: what a shard has matched is kept. Put the partition, time and memory of your
# cluster into SBATCH_PARTITION and so on, or into the options of sbatch below.
set -euo pipefail

# Inside of a job: one shard, or the end.
case ${ASTR_STEP:-submit} in
shard)
    exec astr match "$ASTR_PAIRS" --images "$ASTR_PHOTOS" --shard "$SLURM_ARRAY_TASK_ID/$ASTR_SHARDS" \
        --out "$ASTR_OUT/shards/$SLURM_ARRAY_TASK_ID.h5" "$@"
    ;;
merge)
    # With --pairs, nothing is written while a shard is missing.
    astr merge "$ASTR_OUT/matches.h5" "$ASTR_OUT"/shards/*.h5 --pairs "$ASTR_PAIRS" --overwrite
    exec astr colmap-import "$ASTR_OUT/database.db" --matches "$ASTR_OUT/matches.h5" --images "$ASTR_PHOTOS"
    ;;
esac

usage="usage: slurm.sh PAIRS PHOTOS OUT SHARDS [options of astr match]"
ASTR_PAIRS=$(realpath "${1:?$usage}")
ASTR_PHOTOS=$(realpath "${2:?$usage}")
mkdir -p "${3:?$usage}/shards"
ASTR_OUT=$(realpath "$3")
ASTR_SHARDS=${4:?$usage}
shift 4
export ASTR_PAIRS ASTR_PHOTOS ASTR_OUT ASTR_SHARDS

# sbatch copies this script; the variables travel in the environment. A task that was stopped or lost is queued again.
array=$(ASTR_STEP=shard sbatch --parsable --export=ALL --requeue --job-name=astr-match --array="1-$ASTR_SHARDS" \
    --gpus=1 --cpus-per-task=4 --output="$ASTR_OUT/shards/%a.log" "$0" "$@")
last=$(ASTR_STEP=merge sbatch --parsable --export=ALL --job-name=astr-merge --dependency="afterok:${array%%;*}" \
    --cpus-per-task=8 --output="$ASTR_OUT/merge.log" "$0")
echo "$ASTR_OUT: job ${array%%;*} matches in $ASTR_SHARDS shards, job ${last%%;*} merges and imports"

# What the steps share: the program, the scripts of the comparisons, and the dose. Sourced by each step.
home=$FLAT_BUNDLE_HOME
. "$home/parts.sh"
export FLAT_TRAIN_BIN=$home/bin/flat-train FLAT_TOP=$home FLAT_DATA_DIR=$home/data PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
python=(env "LD_LIBRARY_PATH=$FLAT_LOADER_PATH" "${PYTHON:-python3}")
peers=$home/python/gpu
# NVIDIA's own tools need a GPU
emulated=$(field emulated "$FLAT_BUNDLE_OUT/machine.json")
# where PyTorch computes: on the GPU, but for a rehearsal without one
peer_device=${FLAT_PEER_DEVICE:-cuda}
if [ "$FLAT_BUNDLE_DOSE" = small ]; then
  models=(mlp) batches=(8) precisions=(f32) settings=(eager channels-last amp) timing=(--steps 1 --rounds 1)
  peer_timing=(--seconds 0.01 --rounds 2) rules=(sgd sam rsp sap nso)
else
  models=(lenet resnet20 resnet18 wrn-16-4) batches=(128 1024) precisions=(f32 tf32 bf16)
  settings=(eager f32 channels-last amp compile) timing=(--seconds 1.5 --rounds 9) peer_timing=(--seconds 1.5 --rounds 9)
  rules=(sgd sam rsp sap nso)
fi
comma() { (IFS=,; printf '%s' "$*"); }

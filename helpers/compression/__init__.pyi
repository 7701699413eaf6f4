"""The names that labs import from this folder; each is loaded from its module when it is first used."""

from .classifier import (
    Classifier as Classifier,
    class_logits as class_logits,
    classes_of as classes_of,
    labelled as labelled,
    smaller_classifier as smaller_classifier,
    train_classifier as train_classifier,
)
from .compressed_files import (
    WEIGHTS as WEIGHTS,
    CompressedError as CompressedError,
    file_bytes as file_bytes,
    load_compressed as load_compressed,
    save_compressed as save_compressed,
)
from .distillation import (
    distillation_loss as distillation_loss,
    half_of as half_of,
    kept_layers as kept_layers,
    soft_loss as soft_loss,
    soften as soften,
    student_of as student_of,
)
from .layer_sensitivity import layer_kinds as layer_kinds, sensitivity as sensitivity
from .pruning import (
    from_bitmap as from_bitmap,
    has_two_of_four as has_two_of_four,
    input_norms as input_norms,
    pruned as pruned,
    stored_bytes as stored_bytes,
    to_bitmap as to_bitmap,
    two_of_four as two_of_four,
    wanda as wanda,
    zeros as zeros,
)
from .quantization import (
    absmax as absmax,
    fake_quantize as fake_quantize,
    pack as pack,
    relative_error as relative_error,
    zero_point as zero_point,
)
from .quantized_models import (
    SCHEMES as SCHEMES,
    converted as converted,
    held_bytes as held_bytes,
    linear_layers as linear_layers,
    low_bits as low_bits,
    nf4 as nf4,
    quantized as quantized,
    with_int8_embeddings as with_int8_embeddings,
)
from .structured_pruning import (
    gradient_importance as gradient_importance,
    magnitudes as magnitudes,
    smaller as smaller,
    units as units,
)
from .variants import (
    advise as advise,
    differences as differences,
    measure_variant as measure_variant,
    missing_families as missing_families,
    read_variants as read_variants,
    slug as slug,
    token_milliseconds as token_milliseconds,
)

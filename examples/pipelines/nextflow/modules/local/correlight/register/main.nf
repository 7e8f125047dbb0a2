process CORRELIGHT_REGISTER {
    tag "$meta.id"
    label 'process_medium'

    conda "${moduleDir}/environment.yml"
    container "correlight:0.1.0"

    input:
    tuple val(meta), path(fixed, stageAs: 'fixed/*'), path(moving, stageAs: 'moving/*')

    output:
    tuple val(meta), path("${prefix}")                                     , emit: result
    tuple val(meta), path("${prefix}/result.json")                         , emit: record
    tuple val(meta), path("${prefix}/moving_from_fixed.*")                 , emit: transform
    tuple val(meta), path("${prefix}/registered.ome.{tif,zarr}")           , emit: registered, optional: true
    tuple val(meta), path("${prefix}/report.html")                         , emit: report
    path "versions.yml"                                                    , emit: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    prefix = task.ext.prefix ?: "${meta.id}"
    // Doubtful and refused pairs must not stop the run: the verdict is in result.json. What cannot be read stops it.
    """
    export OMP_NUM_THREADS=${task.cpus} OPENBLAS_NUM_THREADS=${task.cpus}

    correlight register \\
        ${fixed} \\
        ${moving} \\
        --output '${prefix}' \\
        --exit-zero \\
        ${args}

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        correlight: \$(correlight --version)
    END_VERSIONS
    """

    stub:
    prefix = task.ext.prefix ?: "${meta.id}"
    """
    mkdir '${prefix}'
    touch '${prefix}/moving_from_fixed.tfm' '${prefix}/registered.ome.tif' '${prefix}/report.html'
    echo '{"status": "accepted"}' > '${prefix}/result.json'

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        correlight: \$(correlight --version)
    END_VERSIONS
    """
}

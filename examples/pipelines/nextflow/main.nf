// Registers every pair of a table: nextflow run main.nf --table pairs.csv --outdir registered
// The table has the columns name, fixed and moving; paths are relative to it.
include { CORRELIGHT_REGISTER } from './modules/local/correlight/register/main'

params.table  = 'pairs.csv'
params.outdir = 'registered'

workflow {
    def table = file(params.table, checkIfExists: true)
    pairs = channel.fromPath(params.table)
        .splitCsv(header: true)
        .map { row -> [[id: row.name], table.parent.resolve(row.fixed), table.parent.resolve(row.moving)] }
    CORRELIGHT_REGISTER(pairs)
    CORRELIGHT_REGISTER.out.record
        .map { meta, record -> "${meta.id},${new groovy.json.JsonSlurper().parse(record.toFile()).status}" }
        .collectFile(name: 'verdicts.csv', storeDir: params.outdir, newLine: true, sort: true, seed: 'name,status')
}
